"""The wavefront compared with batches, by sessions and segments, and how well the rule chooses between them.

`python -m benchmarks.wavefront` compares the reading of one long text with full attention (`benchmarks/one_text.py`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from statistics import median

from torch import Tensor
from tqdm import tqdm

from benchmarks.plan import Plan
from benchmarks.reading import in_batches, in_wavefront, unskipped_segments
from benchmarks.report import Figure, Goal, Section
from benchmarks.timing import seconds_of
from model.runtime.autotune import Timings, measured
from model.runtime.wavefront.cells import cells_of

NAME = "wavefront"
CLAIM = "reading chooses the faster of batches and the wavefront, from timings measured at the start"
SESSIONS, SEGMENTS = (1, 2, 4, 8), (1, 4, 16)
TOGETHER = 8
NEARLY_THE_BEST = Goal("at least", 0.9)


def measure(plan: Plan) -> Section:
    """Both ways at every size, in turn; then the rule's choice, and its rate relative to the better way's."""
    model = plan.loaded.model
    cells = cells_of(model)
    assert cells is not None, "the bAbI weights are of a mechanism with a wavefront"
    texts = unskipped_segments(model, plan.loaded.tokenizer, SESSIONS[-1] * SEGMENTS[-1])
    texts = texts.view(SESSIONS[-1], SEGMENTS[-1], -1)
    pace = measured(model, TOGETHER, turns=2 * plan.sizes.rounds)
    figures = [
        Figure(f"batch_of_{rows}_rows_with_{each}_windows_milliseconds", 1e3 * seconds)
        for (rows, each), seconds in pace.batches.items()
    ]
    figures += [Figure(f"step_of_{lanes}_lanes_milliseconds", 1e3 * s) for lanes, s in pace.wavefronts.items()]
    for sessions in SESSIONS:
        for segments in SEGMENTS:
            some = texts[:sessions, :segments]
            each = max(1, TOGETHER // sessions)
            ways: dict[str, Callable[[], object]] = {
                "segment_after_segment": partial(in_batches, model, some, sessions),
                "batch": partial(in_batches, model, some, sessions, each),
                "wavefront": partial(in_wavefront, cells, some, min(sessions, max(pace.wavefronts))),
            }
            figures += _compared(f"{sessions}_sessions_of_{segments}_segments", some, ways, pace, plan.sizes.rounds)
    return Section(NAME, CLAIM, tuple(figures))


def _compared(
    name: str, texts: Tensor, ways: dict[str, Callable[[], object]], pace: Timings, turns: int
) -> list[Figure]:
    taken: dict[str, list[float]] = {kind: [] for kind in ways}
    for turn in tqdm(range(-1, turns), desc=name.replace("_", " "), leave=False):
        for kind, way in ways.items():
            seconds = seconds_of(way)
            if turn >= 0:
                taken[kind].append(seconds)
    rates = {kind: texts.numel() / median(seconds) for kind, seconds in taken.items()}
    chosen = rates[pace.way(*texts.shape[:2]).kind]
    return [
        *(Figure(f"{name}_{kind}_tokens_per_second", rate) for kind, rate in rates.items()),
        Figure(f"{name}_chosen_to_better_ratio", chosen / max(rates.values()), NEARLY_THE_BEST),
    ]


if __name__ == "__main__":
    from benchmarks.one_text import main

    sys.exit(main())
