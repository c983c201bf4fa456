"""What a listener to bAbI's sentences knows: it hears facts in order, and answers the questions of tasks 1 to 10."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

INVERSE = {"north": "south", "south": "north", "east": "west", "west": "east"}
_COUNTS = ("none", "one", "two", "three")


class Unanswerable(ValueError):
    """The question's form is unknown, or nothing that was heard answers it."""


class World:
    """Where everybody and everything is after the facts heard so far.

    `paths` has the successive places of each object, `walks` those of each person, and `named_at` has where each object
    was at its last mention, which is wrong where the object was carried since. `centres`
    counts how often a place was said to have another beside it: the last one is wrong where another side is asked for.
    """

    def __init__(self) -> None:
        self.place: dict[str, str] = {}
        self.maybe: dict[str, frozenset[str]] = {}
        self.absent: dict[str, str] = {}
        self.walks: dict[str, list[str]] = {}
        self.paths: dict[str, list[str]] = {}
        self.carrier: dict[str, str] = {}
        self.taker: dict[str, str] = {}
        self.lies: dict[str, str] = {}
        self.gifts: list[tuple[str, str, str]] = []
        self.beside: dict[tuple[str, str], str] = {}
        self.centres: Counter[str] = Counter()
        self.named_at: dict[str, str | None] = {}
        self._takings: dict[tuple[str, str], int] = {}

    def hear(self, fact: str) -> None:
        """Takes in one fact; one of an unknown form is a `ValueError`."""
        _first(_FACTS, self, fact)

    def answer(self, question: str) -> str:
        """The one right answer by the task's rule."""
        answer = _first(_QUESTIONS, self, question)
        if not answer:
            raise Unanswerable(f"nothing heard so far answers {question!r}")
        return str(answer)

    def carried(self, person: str) -> list[str]:
        """What the person carries, in the order in which the person first took it."""
        held = (thing for thing, carrier in self.carrier.items() if carrier == person)
        return sorted(held, key=lambda thing: self._takings[person, thing])

    def _move(self, person: str, place: str) -> None:
        self._locate(person, place)
        self.walks.setdefault(person, []).append(place)
        for thing in self.carried(person):
            self._bring(thing, place)

    def _locate(self, person: str, place: str) -> None:
        self.place[person] = place
        self.maybe.pop(person, None)
        self.absent.pop(person, None)

    def _doubt(self, person: str, one: str, other: str) -> None:
        self.place.pop(person, None)
        self.absent.pop(person, None)
        self.maybe[person] = frozenset((one, other))

    def _deny(self, person: str, place: str) -> None:
        self.place.pop(person, None)
        self.maybe.pop(person, None)
        self.absent[person] = place

    def _take(self, person: str, thing: str) -> None:
        self._takings.setdefault((person, thing), len(self._takings))
        self.carrier[thing] = self.taker[thing] = person
        self.named_at[thing] = self.place.get(person)
        if person in self.place:
            self._bring(thing, self.place[person])

    def _drop(self, person: str, thing: str) -> None:
        self.carrier.pop(thing, None)
        self.named_at[thing] = self.place.get(person)
        if person in self.place:
            self.lies[thing] = self.place[person]
            self._bring(thing, self.place[person])

    def _give(self, giver: str, thing: str, receiver: str) -> None:
        self._take(receiver, thing)
        self.gifts.append((giver, thing, receiver))

    def _bring(self, thing: str, place: str) -> None:
        path = self.paths.setdefault(thing, [])
        if not path or path[-1] != place:
            path.append(place)

    def _relate(self, one: str, side: str, other: str) -> None:
        self.centres[other] += 1
        self.beside[side, other] = one
        self.beside[INVERSE[side], one] = other

    def _where(self, thing: str) -> str | None:
        carrier = self.carrier.get(thing)
        return self.place.get(carrier) if carrier else self.lies.get(thing)

    def _is_in(self, person: str, place: str) -> str | None:
        if person in self.place:
            return "yes" if self.place[person] == place else "no"
        if person in self.maybe:
            return "maybe" if place in self.maybe[person] else "no"
        return "no" if self.absent.get(person) == place else None

    def _gift(self, wanted: int, giver: str = "", thing: str = "", receiver: str = "") -> str | None:
        for gift in reversed(self.gifts):
            if all(not known or known == part for known, part in zip((giver, thing, receiver), gift, strict=True)):
                return gift[wanted]
        return None


def before(path: list[str], place: str) -> str | None:
    """The place before the last visit to `place`."""
    for index in range(len(path) - 1, 0, -1):
        if path[index] == place:
            return path[index - 1]
    return None


_Rules = tuple[tuple[re.Pattern[str], Callable[..., Any]], ...]

_FACTS: _Rules = (
    (re.compile(r"(\w+) (?:went to|journeyed to|travelled to|went back to|moved to) the (\w+)\."), World._move),
    (re.compile(r"(\w+) (?:grabbed|picked up|got|took) the (\w+)(?: there)?\."), World._take),
    (re.compile(r"(\w+) (?:left|discarded|put down|dropped) the (\w+)(?: there)?\."), World._drop),
    (re.compile(r"(\w+) (?:gave|handed|passed) the (\w+) to (\w+)\."), World._give),
    (re.compile(r"The (\w+) is (north|south|east|west) of the (\w+)\."), World._relate),
    (re.compile(r"(\w+) is in the (\w+)\."), World._locate),
    (re.compile(r"(\w+) is (?:no longer|not) in the (\w+)\."), World._deny),
    (re.compile(r"(\w+) is either in the (\w+) or the (\w+)\."), World._doubt),
)

_QUESTIONS: _Rules = (
    (re.compile(r"Where is the (\w+)\?"), World._where),
    (re.compile(r"Where is (\w+)\?"), lambda w, person: w.place.get(person)),
    (re.compile(r"Where was the (\w+) before the (\w+)\?"), lambda w, o, place: before(w.paths.get(o, []), place)),
    (re.compile(r"What is (north|south|east|west) of the (\w+)\?"), lambda w, side, other: w.beside.get((side, other))),
    (
        re.compile(r"What is the (\w+) (north|south|east|west) of\?"),
        lambda w, one, side: w.beside.get((INVERSE[side], one)),
    ),
    (re.compile(r"What did (\w+) give to (\w+)\?"), lambda w, giver, receiver: w._gift(1, giver, "", receiver)),
    (re.compile(r"Who gave the (\w+) to (\w+)\?"), lambda w, thing, receiver: w._gift(0, "", thing, receiver)),
    (re.compile(r"Who gave the (\w+)\?"), lambda w, thing: w._gift(0, "", thing)),
    (re.compile(r"Who received the (\w+)\?"), lambda w, thing: w._gift(2, "", thing)),
    (re.compile(r"Who did (\w+) give the (\w+) to\?"), lambda w, giver, thing: w._gift(2, giver, thing)),
    (re.compile(r"Is (\w+) in the (\w+)\?"), World._is_in),
    (re.compile(r"How many objects is (\w+) carrying\?"), lambda w, person: _COUNTS[len(w.carried(person))]),
    (re.compile(r"What is (\w+) carrying\?"), lambda w, person: ",".join(w.carried(person)) or "nothing"),
    # Not bAbI's, but steps on the way to its answers; asked in training only.
    (re.compile(r"Where was (\w+) before the (\w+)\?"), lambda w, p, place: before(w.walks.get(p, []), place)),
    (re.compile(r"Who got the (\w+)\?"), lambda w, thing: w.taker.get(thing)),
)


def _first(rules: _Rules, world: World, sentence: str) -> object:
    for pattern, rule in rules:
        if match := pattern.fullmatch(sentence):
            return rule(world, *match.groups())
    raise Unanswerable(f"not a sentence of bAbI's tasks 1 to 10: {sentence!r}")
