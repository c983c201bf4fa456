"""The stages of learning: first learn, then price the writing, then forbid weak writes, then lengthen.

It is data with its reasons, and knows nothing of how a stage is run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Batches of `segments` drawn from a range, until answers are right often enough for long enough.

    `write_price` is paid for the mean β; below `write_threshold` a token writes nothing at all.
    """

    name: str
    segment_tokens: int
    segments: tuple[int, int]
    facts: tuple[int, int]
    steps_min: int
    steps_max: int
    accuracy: float
    write_price: float
    write_threshold: float
    learning_rate: float
    learning_rate_end: float


# A price or a threshold before the task is learned stalls the learning, so each comes only once the one before
# it no longer hurts. Short segments come first, since who went where is learned soonest where little else is said;
# length comes last: it is the dearest, and only worth it when most text writes nothing.
DEFAULT_CURRICULUM = (
    Stage("learn", 64, (1, 1), (3, 5), 200, 1500, 0.96, 0.0, 0.0, 1e-3, 1e-3),
    Stage("segments", 128, (1, 4), (1, 10), 100, 1000, 0.97, 0.0, 0.0, 1e-3, 1e-3),
    Stage("price", 128, (1, 8), (1, 12), 150, 1000, 0.98, 0.02, 0.0, 1e-3, 1e-3),
    Stage("threshold", 128, (2, 16), (1, 16), 150, 1000, 0.985, 0.02, 0.15, 1e-3, 1e-3),
    Stage("lengthen", 128, (4, 48), (1, 20), 150, 400, 0.99, 0.02, 0.15, 1e-3, 1e-3),
    Stage("endure", 128, (16, 64), (1, 20), 600, 600, 1.0, 0.05, 0.15, 8e-4, 1e-5),
)
