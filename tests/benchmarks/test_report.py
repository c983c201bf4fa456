"""A report has the value, the goal and the verdict of each figure."""

import json

import pytest

from benchmarks.report import Figure, Goal, Section, as_json, as_table, unmet
from benchmarks.timing import percentile

SECTIONS = [
    Section(
        "length",
        "cost does not grow",
        (
            Figure("reading_ratio", 1.0123, Goal("at most", 1.05)),
            Figure("answering_ratio", 1.2, Goal("at most", 1.05)),
        ),
    ),
    Section("sizes", "memory is small", (Figure("memory_bytes", 1_474_560),)),
]


def test_the_table_names_value_goal_and_verdict() -> None:
    assert as_table(SECTIONS).splitlines() == [
        "length: cost does not grow",
        "  reading_ratio             1.012  at most 1.05: met",
        "  answering_ratio             1.2  at most 1.05: NOT MET",
        "",
        "sizes: memory is small",
        "  memory_bytes          1,474,560",
    ]


def test_the_json_has_every_digit_and_null_for_no_goal() -> None:
    report = json.loads(as_json({"quick": False}, SECTIONS))
    assert report["quick"] is False
    assert report["sections"]["length"] == {
        "claim": "cost does not grow",
        "figures": {
            "reading_ratio": {"value": 1.0123, "goal": "at most 1.05", "met": True},
            "answering_ratio": {"value": 1.2, "goal": "at most 1.05", "met": False},
        },
    }
    assert report["sections"]["sizes"]["figures"]["memory_bytes"] == {"value": 1_474_560, "goal": None, "met": None}


def test_each_unmet_goal_has_a_line() -> None:
    assert unmet(SECTIONS) == ["not met: length: answering_ratio is 1.2, the goal is at most 1.05"]


@pytest.mark.parametrize(
    ("bound", "value", "met"),
    [("at most", 3.0, True), ("at most", 3.1, False), ("at least", 3.0, True), ("at least", 2.9, False)],
)
def test_a_goal_includes_its_limit(bound: str, value: float, met: bool) -> None:
    assert Figure("some_ratio", value, Goal(bound, 3.0)).met is met  # type: ignore[arg-type]


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(value) for value in range(100, 0, -1)]
    assert (percentile(values, 50), percentile(values, 99), percentile(values, 100)) == (50.0, 99.0, 100.0)
    assert percentile([7.0], 99) == 7.0
