"""Which way of reading is taken follows from what was measured, and from nothing else."""

from __future__ import annotations

import pytest
import torch

from model.runtime.autotune import Timings, measured
from model.runtime.segment_reader import SegmentReader
from testing.models import MECHANISMS, random_model

BATCHES = {(1, 4): 4.0, (2, 2): 3.6, (4, 1): 3.0}
SLOWER_THAN_ALL_LAYERS = Timings(layers=4, batches=BATCHES, wavefronts={1: 1.5})
QUICK_STEPS = Timings(layers=16, batches=BATCHES, wavefronts={1: 0.25, 2: 0.4})


@pytest.mark.parametrize(
    ("pace", "sessions", "windows", "kind", "width", "seconds"),
    [
        (SLOWER_THAN_ALL_LAYERS, 1, 1_000_000, "batch", 1, 1_000_000.0),
        # A short text is over before all layers are at work.
        (QUICK_STEPS, 1, 1, "batch", 1, 1.0),
        (QUICK_STEPS, 1, 4, "batch", 1, 4.0),
        (QUICK_STEPS, 1, 100, "wavefront", 1, 0.25 * 115),
        # As the batch that is nearest in rows, by the windows in it.
        (QUICK_STEPS, 2, 2, "batch", 2, 3.6),
        (QUICK_STEPS, 3, 2, "batch", 3, 5.4),
        (QUICK_STEPS, 4, 2, "batch", 4, 6.0),
        # Several short ones follow each other in a lane, and it fills once.
        (QUICK_STEPS, 80, 1, "wavefront", 2, 0.4 * 55),
        (QUICK_STEPS, 2, 100, "wavefront", 2, 0.4 * 115),
    ],
)
def test_the_fastest_way_is_chosen(
    pace: Timings, sessions: int, windows: int, kind: str, width: int, seconds: float
) -> None:
    way = pace.way(sessions, windows)
    assert (way.kind, way.width) == (kind, width)
    assert way.seconds == pytest.approx(seconds)


def test_a_way_that_is_hardly_faster_is_not_chosen() -> None:
    """Else the next start might choose otherwise."""
    for step, kind in ((0.95, "batch"), (0.85, "wavefront")):
        assert Timings(layers=1, batches={(1, 1): 1.0}, wavefronts={1: step}).way(1, 10).kind == kind


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_model_is_measured_as_it_is(name: str) -> None:
    """What has no wavefront is read in batches, however long the text."""
    model = random_model(MECHANISMS[name])
    pace = measured(model, 5, turns=1)
    assert pace.layers == 2
    assert list(pace.batches) == [(1, 5), (2, 2), (4, 1)]
    assert list(pace.wavefronts) == ([1, 2, 4] if name.startswith(("delta", "armt")) else [])
    assert all(seconds > 0 for seconds in (*pace.batches.values(), *pace.wavefronts.values()))
    if not pace.wavefronts:
        assert pace.way(1, 1_000).kind == "batch"


EITHER_WAY = [(name, "batch") for name in MECHANISMS] + [
    (name, "wavefront") for name in MECHANISMS if name.startswith(("delta", "armt"))
]


@pytest.mark.parametrize(("name", "chosen"), EITHER_WAY)
def test_both_ways_give_the_memory_of_reading_each_segment(
    name: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three texts of different lengths, one of them behind a gap of segments that were skipped over."""
    model = random_model(MECHANISMS[name]).double()
    steps = {1: 1e-6, 2: 1e-6} if chosen == "wavefront" else {}
    pace = Timings(layers=2, batches={(1, 1): 1.0}, wavefronts=steps)
    monkeypatch.setattr("model.runtime.segment_reader.measured", lambda *_: pace)
    reader = SegmentReader(model)
    reader.measure(4)
    texts, expected = [], []
    for count in (1, 4, 3):
        segments = torch.randint(340, (count + 1, 8), generator=torch.Generator().manual_seed(count))
        before = model.read(segments[-1:], model.initial_memory(1))
        texts.append((model.windows(segments, before)[1:], before))
        memory = model.skip(segments[:1], before)
        for segment in segments[1:]:
            memory = model.read(segment[None], memory)
        expected.append(memory)
    for found, memory in zip(reader.read(texts), expected, strict=True):
        for part, tensor in memory.tensors.items():
            torch.testing.assert_close(found[part], tensor, rtol=1e-9, atol=1e-9)
