"""The rules of a history, each on made-up histories: one that violates it, and some that almost do."""

from __future__ import annotations

import pytest

from reliability.replicas.history import Fact, History, Left, Sent
from server.store.text_hash import EMPTY_CHAIN, extended

DOCUMENT = b"It was the best of times, it was the worst of times"


def violations(*facts: tuple[str, int, float, float], session: str = "book") -> list[str]:
    """The violations of facts (kind, value, begin and end of the exchange), all text sent before them."""
    history = History(sent=[Sent(session, 100, 0.0)])
    history.facts += [Fact(session, kind, value, "a test", began, ended) for kind, value, began, ended in facts]
    return history.violations()


@pytest.mark.parametrize("kind", ["accepted", "read", "version"])
def test_a_reported_value_never_decreases(kind: str) -> None:
    [wrong] = violations((kind, 7, 1, 2), (kind, 6, 3, 4))
    assert f"{kind} 7 at 1.000 to 2.000, then a test said {kind} 6 at 3.000 to 4.000" in wrong
    assert violations((kind, 6, 1, 2), (kind, 6, 3, 4), (kind, 7, 5, 6)) == []


@pytest.mark.parametrize("kind", ["accepted", "read", "version"])
def test_overlapping_exchanges_may_report_in_any_order(kind: str) -> None:
    assert violations((kind, 7, 1, 3), (kind, 6, 2, 4)) == []
    assert violations((kind, 6, 2, 4), (kind, 7, 1, 3)) == []
    assert violations((kind, 7, 1, 3), (kind, 6, 3, 4)) == []


def test_an_exchange_is_compared_with_all_that_ended_before_it() -> None:
    [wrong] = violations(("accepted", 9, 1, 2), ("accepted", 7, 1.5, 3), ("accepted", 8, 4, 5))
    assert "accepted 9" in wrong


def test_an_answer_covers_text_accepted_before_its_question() -> None:
    [wrong] = violations(("accepted", 7, 1, 2), ("covered", 6, 3, 4))
    assert "an answer lacks text" in wrong
    assert violations(("accepted", 7, 1, 2), ("covered", 7, 3, 4)) == []
    assert violations(("accepted", 7, 1, 3), ("covered", 6, 2, 4)) == []


def test_text_that_an_answer_covered_stays_accepted() -> None:
    [wrong] = violations(("covered", 7, 1, 2), ("accepted", 6, 3, 4))
    assert "accepted text is gone" in wrong


def test_unrelated_kinds_are_not_compared() -> None:
    assert violations(("accepted", 90, 1, 2), ("read", 6, 3, 4), ("version", 1, 5, 6)) == []


def test_sessions_are_not_compared_with_each_other() -> None:
    history = History(sent=[Sent("a", 9, 0.0), Sent("b", 9, 0.0)])
    history.add("a", "HEAD", 1, 2, accepted=9)
    history.add("b", "HEAD", 3, 4, accepted=6)
    assert history.violations() == []


def test_of_many_violations_of_a_rule_the_first_is_reported_and_the_rest_counted() -> None:
    [wrong] = violations(("read", 7, 1, 2), ("read", 6, 3, 4), ("read", 5, 5, 6))
    assert wrong.startswith("book: reading went back")
    assert "read 6" in wrong
    assert wrong.endswith("(and 1 more)")


def test_accepted_text_beyond_what_was_sent_is_a_violation() -> None:
    history = History(sent=[Sent("book", 5, 1.0), Sent("book", 9, 4.0)])
    history.add("book", "HEAD", 2, 3, accepted=6)
    [wrong] = history.violations()
    assert "nothing was sent beyond 5" in wrong
    history.facts.clear()
    history.add("book", "HEAD", 2, 5, accepted=9)
    assert history.violations() == []


def test_a_refused_request_is_a_violation() -> None:
    assert History(refused=["409 content_conflict"]).violations() == ["409 content_conflict"]


def left(**changes: object) -> list[str]:
    """The violations of a session that was left as it should be, but for the changes."""
    sound: dict[str, object] = {
        "session": "book",
        "document": DOCUMENT,
        "accepted": 30,
        "chain": extended(EMPTY_CHAIN, DOCUMENT[:30]),
        "read": 25,
        "journal_offset": 20,
        "journal": DOCUMENT[20:30],
        "serial": True,
    }
    return History(left=[Left(**sound | changes)]).violations()  # type: ignore[arg-type]


def test_a_session_with_the_right_final_state_has_no_violation() -> None:
    assert left() == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"chain": extended(EMPTY_CHAIN, b"other text")}, "not what was sent"),
        ({"accepted": len(DOCUMENT) + 1, "journal": DOCUMENT[20:]}, "not what was sent"),
        ({"journal": b"other text"}, "journal from 20 on is not"),
        ({"journal": DOCUMENT[20:29]}, "journal from 20 on is not"),
        ({"read": 19}, "19 bytes are read"),
        ({"read": 31}, "31 bytes are read"),
        ({"serial": False}, "memory at offset 25"),
        ({"waited_seconds": 30.2}, "25 of 30 bytes are read 30 s after"),
    ],
)
def test_each_fault_of_the_final_state_is_a_violation(changes: dict[str, object], said: str) -> None:
    [wrong] = left(**changes)
    assert said in wrong
