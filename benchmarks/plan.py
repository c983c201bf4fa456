"""The input of every measurement: the model, the server's settings, and the sizes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.weights import LoadedModel
from server.settings import Settings


@dataclass(frozen=True)
class Sizes:
    """How much is read, and how often each measurement is repeated."""

    short_tokens: int
    long_tokens: int
    restart_tokens: int = 100_000
    round_tokens: int = 32_768
    backlog_bytes: int = 1 << 17
    windows: int = 40
    rounds: int = 5
    questions: int = 100
    question_tokens: tuple[int, ...] = (10_000, 1_000_000, 10_000_000)
    long_questions: int = 30
    appends: int = 100
    restarts: int = 5
    mechanism_segments: tuple[int, ...] = (16, 128, 1024)
    compared_tokens: tuple[int, ...] = (4096, 16_384, 65_536)
    compared_alone_tokens: tuple[int, ...] = (262_144, 1_048_576)
    open_sessions: int = 1000
    load_per_second: tuple[int, ...] = (10, 20, 40, 80, 160)
    load_seconds: float = 8.0


def quick(short_tokens: int) -> Sizes:
    """Sizes for a smoke test of one or two minutes; the figures are not meaningful."""
    return Sizes(
        short_tokens=short_tokens,
        long_tokens=2 * short_tokens,
        restart_tokens=short_tokens,
        round_tokens=4096,
        windows=10,
        rounds=3,
        questions=20,
        question_tokens=(short_tokens, 2 * short_tokens),
        long_questions=3,
        appends=20,
        restarts=2,
        mechanism_segments=(2, 16),
        compared_tokens=(1024, 4096),
        compared_alone_tokens=(16_384,),
        open_sessions=40,
        load_per_second=(10, 40),
        load_seconds=1.5,
    )


@dataclass(frozen=True)
class Plan:
    """`weights` is the folder of `loaded`; `settings` are the server's defaults.

    `pretrained` is a folder of a pretrained model with the general memory.
    """

    weights: Path
    loaded: LoadedModel
    settings: Settings
    sizes: Sizes
    pretrained: Path = Path("model/smollm2")

    @property
    def segment_tokens(self) -> int:
        return self.loaded.model.config.segment_tokens

    @property
    def step_rows(self) -> int:
        """How many sessions' segments one step of the server reads."""
        return max(1, self.settings.step_tokens // self.segment_tokens)
