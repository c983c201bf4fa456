"""When an answer counts as right, and the confidence interval of a share of right answers."""

from __future__ import annotations

_PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
_YES_NO = ("yes", "no")
LABELS: dict[int, tuple[str, ...]] = {
    **dict.fromkeys((1, 2, 3, 4), _PLACES),
    5: ("Bill", "Fred", "Jeff", "Mary", "apple", "football", "milk"),
    6: _YES_NO,
    7: ("none", "one", "two", "three"),
    8: ("apple", "football", "milk", "nothing"),
    9: _YES_NO,
    10: (*_YES_NO, "maybe"),
}


def exact(answer: str, target: str) -> bool:
    """The whole answer is the target."""
    return answer.strip() == target


def lenient(task: int, question: str, answer: str, target: str) -> bool:
    """BABILong's own rule: the labels in the answer's first sentence, less the question's, are exactly the target's."""
    said = answer.lower().strip().split(".")[0].split("\n")[0]
    found = {label.lower() for label in LABELS[task] if label.lower() in said}
    asked = {label.lower() for label in LABELS[task] if label.lower() in question.lower()}
    return found - asked == set(target.lower().split(","))


def wilson_interval(right: int, asked: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of right answers (Wilson 1927)."""
    if not asked:
        return 0.0, 1.0
    share = right / asked
    centre = share + z * z / (2 * asked)
    spread = z * ((share * (1 - share) + z * z / (4 * asked)) / asked) ** 0.5
    scale = 1 + z * z / asked
    return (centre - spread) / scale, (centre + spread) / scale
