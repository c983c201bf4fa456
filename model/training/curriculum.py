"""The stages of learning: first learn, then price the writing, then forbid weak writes, then lengthen.

It is data with its reasons, and knows nothing of how a stage is run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """Batches of about `batch_tokens`, until answers are right often enough for long enough.

    `write_price` is paid for the mean β; below `write_threshold` a token writes nothing at all.
    """

    name: str
    segment_tokens: int
    segments: tuple[int, int]
    batch_tokens: int
    facts: tuple[int, int]
    steps_min: int
    steps_max: int
    accuracy: float
    write_price: float
    write_threshold: float
    learning_rate: float
    learning_rate_end: float


# A price or a threshold before the task is learned stalls the learning, so each comes only once the one before
# it no longer hurts. Dense facts come first: where a question has one candidate, "the last place" is as good an answer
# as binding a place to a person, and that is where learning would stay. Length comes last: it is the dearest.
DEFAULT_CURRICULUM = (
    Stage("learn", 32, (2, 3), 3_072, (5, 8), 150, 1500, 0.90, 0.0, 0.0, 2e-3, 2e-3),
    Stage("segments", 128, (1, 3), 6_144, (4, 16), 100, 150, 0.95, 0.0, 0.0, 1e-3, 1e-3),
    Stage("price", 128, (2, 8), 8_192, (3, 12), 80, 150, 0.97, 0.02, 0.0, 1e-3, 1e-3),
    Stage("threshold", 128, (2, 16), 12_288, (3, 16), 80, 150, 0.975, 0.02, 0.15, 1e-3, 1e-3),
    Stage("lengthen", 128, (4, 48), 16_384, (2, 20), 60, 100, 0.985, 0.02, 0.15, 1e-3, 1e-3),
    Stage("endure", 128, (16, 64), 16_384, (2, 20), 200, 200, 1.0, 0.05, 0.15, 8e-4, 1e-5),
    Stage("polish", 128, (24, 64), 16_384, (2, 12), 200, 200, 1.0, 0.3, 0.15, 5e-4, 1e-5),
)
