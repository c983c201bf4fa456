"""What servers said about sessions, and when; and which of it cannot be true of text that is kept. Pure functions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from server.store.text_hash import EMPTY_CHAIN, extended


class Fact(NamedTuple):
    """What a server said about a session in an exchange with this begin and end; true at some moment between the two.

    `accepted` counts the text's bytes, `covered` those that an answer was given from, `read` those of the newest
    checkpoint, and `version` is that checkpoint's.
    """

    session: str
    kind: str
    value: int
    how: str
    began: float
    ended: float


class Sent(NamedTuple):
    """From `began` on the text may reach to `end`."""

    session: str
    end: int
    began: float


class Rule(NamedTuple):
    """A fact of this kind is never below a fact of those kinds whose exchange had ended before this one began."""

    kind: str
    floors: tuple[str, ...]
    broken: str


RULES = (
    Rule("accepted", ("accepted", "covered"), "accepted text is gone"),
    Rule("covered", ("accepted", "covered"), "an answer lacks text that was accepted before it was asked for"),
    Rule("read", ("read",), "reading went back"),
    Rule("version", ("version",), "the memory went back to an earlier version"),
)


@dataclass(frozen=True)
class Left:
    """What the store has of a session at the end; `serial` says whether the memory is that of an undisturbed server.

    `waited_seconds` is given where text was still unread so long after the last fault.
    """

    session: str
    document: bytes
    accepted: int
    chain: str
    read: int
    journal_offset: int
    journal: bytes
    serial: bool
    waited_seconds: float | None = None

    def wrong(self) -> Iterator[str]:
        text = self.document[: self.accepted]
        if self.accepted > len(self.document) or extended(EMPTY_CHAIN, text) != self.chain:
            yield "the accepted text is not what was sent"
        if self.journal != text[self.journal_offset :]:
            yield f"the journal from {self.journal_offset} on is not what was sent"
        if not self.journal_offset <= self.read <= self.accepted:
            yield f"{self.read} bytes are read, {self.accepted} accepted, the journal is from {self.journal_offset} on"
        if not self.serial:
            yield f"the memory at offset {self.read} is not that of reading the text once, in order"
        if self.waited_seconds is not None:
            yield f"{self.read} of {self.accepted} bytes are read {self.waited_seconds:.0f} s after the last fault"


@dataclass
class History:
    """All facts; threads may add to it at any time, because adding is atomic."""

    facts: list[Fact] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)

    def add(self, session: str, how: str, began: float, ended: float, **values: int) -> None:
        self.facts += [Fact(session, kind, value, how, began, ended) for kind, value in values.items()]

    @property
    def events(self) -> int:
        return len(self.facts) + len(self.sent)

    def violations(self) -> list[str]:
        """In words, for each session and rule the first fact that breaks it."""
        found = list(self.refused)
        for session in sorted({fact.session for fact in self.facts}):
            mine = [fact for fact in self.facts if fact.session == session]
            for rule in RULES:
                found += _first(behind(rule, mine), session)
            found += _first(unsent(mine, [sent for sent in self.sent if sent.session == session]), session)
        return found + [f"{left.session}: {what}" for left in self.left for what in left.wrong()]


def behind(rule: Rule, facts: Iterable[Fact]) -> Iterator[str]:
    """Every fact below one whose exchange had ended before its own began; overlapping exchanges have no order."""
    facts = list(facts)
    waiting = deque(sorted((fact for fact in facts if fact.kind in rule.floors), key=lambda fact: fact.ended))
    highest: Fact | None = None
    for fact in sorted((fact for fact in facts if fact.kind == rule.kind), key=lambda fact: fact.began):
        while waiting and waiting[0].ended < fact.began:
            floor = waiting.popleft()
            highest = floor if highest is None or floor.value > highest.value else highest
        if highest is not None and fact.value < highest.value:
            yield f"{rule.broken}: {said(highest)}, then {said(fact)}"


def unsent(facts: Iterable[Fact], sent: Iterable[Sent]) -> Iterator[str]:
    """Every fact about text beyond all that had begun to be sent by then."""
    waiting, end = deque(sorted(sent, key=lambda sent: sent.began)), 0
    for fact in sorted((fact for fact in facts if fact.kind != "version"), key=lambda fact: fact.ended):
        while waiting and waiting[0].began <= fact.ended:
            end = max(end, waiting.popleft().end)
        if fact.value > end:
            yield f"nothing was sent beyond {end}, but {said(fact)}"


def said(fact: Fact) -> str:
    return f"{fact.how} said {fact.kind} {fact.value} at {fact.began:.3f} to {fact.ended:.3f}"


def _first(found: Iterable[str], session: str) -> list[str]:
    every = list(found)
    return [f"{session}: {every[0]}" + (f" (and {len(every) - 1} more)" if every[1:] else "")] if every else []
