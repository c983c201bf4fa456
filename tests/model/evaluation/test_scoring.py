"""Right and wrong, by both rules, and how sure a share is."""

import pytest

from model.evaluation.scoring import exact, lenient, wilson_interval


def test_exact_match_ignores_only_surrounding_space() -> None:
    assert exact(" garden\n", "garden")
    assert not exact("the garden", "garden")
    assert not exact("", "garden")


@pytest.mark.parametrize(
    ("task", "question", "answer", "target", "right"),
    [
        (1, "Where is Mary?", "The garden.", "garden", True),
        (1, "Where is Mary?", "garden or kitchen", "garden", False),
        (1, "Where is Mary?", "I do not know", "garden", False),
        (1, "Where is Mary?", "garden. Not the kitchen", "garden", True),
        (3, "Where was the apple before the kitchen?", "Before the kitchen: the office", "office", True),
        (5, "Who gave the milk to Bill?", "Fred gave the milk to Bill", "Fred", True),
        (5, "Who gave the milk to Bill?", "Fred or Jeff", "Fred", False),
        (8, "What is Mary carrying?", "milk and apple", "apple,milk", True),
    ],
)
def test_babilongs_rule_looks_for_labels(task: int, question: str, answer: str, target: str, right: bool) -> None:
    assert lenient(task, question, answer, target) == right


def test_the_interval_contains_the_share() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    low, high = wilson_interval(95, 100)
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)
