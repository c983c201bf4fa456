"""The stages of training: one hop, then two, then many facts, then sparse ones, then noise that looks like facts."""

from __future__ import annotations

from dataclasses import dataclass

from model.training.samples import STEPS


@dataclass(frozen=True)
class Stage:
    """Batches of about `batch_tokens`, until the worst task is right often enough.

    A fact comes every `fact_tokens` (from and to, drawn for each stream); of the sentences between facts `hard_share`
    are those of the books that the write gate let through when the stage began. At each of its exams a stream is put
    `questions`.
    """

    name: str
    tasks: tuple[int, ...]
    segment_tokens: int
    segments: tuple[int, int]
    fact_tokens: tuple[int, int]
    batch_tokens: int
    steps_min: int
    steps_max: int
    accuracy: float
    learning_rate: float
    learning_rate_end: float
    hard_share: float = 0.0
    questions: int = 6


_ALL = (STEPS, 1, 2, 3, 4, 5)

# Dense facts and short segments come first: what is learned is where to write and where to look, and that is the same
# at any distance, because what stands between facts does not write. One hop comes before two: all at once learns
# neither.
DEFAULT_CURRICULUM = (
    Stage("places", (1,), 32, (2, 3), (7, 12), 2_304, 60, 400, 0.90, 2e-3, 2e-3),
    Stage("hops", _ALL, 32, (3, 8), (7, 12), 3_072, 600, 600, 1.0, 2e-3, 1.5e-3),
    Stage("stories", _ALL, 64, (3, 14), (7, 14), 6_144, 923, 923, 1.0, 1.5e-3, 5e-5, questions=10),
    Stage("long", _ALL, 64, (4, 16), (7, 11), 4_608, 550, 550, 1.0, 1.3e-3, 3e-5, questions=10),
    Stage("harden", _ALL, 64, (3, 14), (8, 80), 5_120, 70, 70, 1.0, 2e-4, 1e-5, hard_share=0.4, questions=10),
)
