"""Which way of reading is taken follows from what was measured, and from nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.pace import Pace, measured
from tests.conftest import MECHANISMS, random_model

TWICE_AS_SLOW_A_STEP = Pace(layers=16, batches={1: 1.0, 4: 3.0}, wavefronts={1: 2.0})
SLOWER_THAN_ALL_LAYERS = Pace(layers=4, batches={1: 1.0}, wavefronts={1: 1.5})
QUICK_STEPS = Pace(layers=16, batches={1: 1.0, 4: 3.0}, wavefronts={1: 0.25, 2: 0.4})


@pytest.mark.parametrize(
    ("pace", "sessions", "segments", "kind", "width", "seconds"),
    [
        (TWICE_AS_SLOW_A_STEP, 1, 1_000_000, "batch", 1, 1_000_000.0),
        (SLOWER_THAN_ALL_LAYERS, 1, 1_000_000, "batch", 1, 1_000_000.0),
        # A short text is over before all layers are at work.
        (QUICK_STEPS, 1, 1, "batch", 1, 1.0),
        (QUICK_STEPS, 1, 4, "batch", 1, 4.0),
        (QUICK_STEPS, 1, 100, "wavefront", 1, 0.25 * 115),
        # Several short ones follow each other in a lane, and it fills once.
        (QUICK_STEPS, 4, 1, "batch", 4, 3.0),
        (QUICK_STEPS, 80, 1, "wavefront", 2, 0.4 * 55),
        (QUICK_STEPS, 2, 100, "wavefront", 2, 0.4 * 115),
    ],
)
def test_the_fastest_way_is_taken(
    pace: Pace, sessions: int, segments: int, kind: str, width: int, seconds: float
) -> None:
    way = pace.way(sessions, segments)
    assert (way.kind, way.width) == (kind, width)
    assert way.seconds == pytest.approx(seconds)


@given(st.integers(1, 50), st.integers(1, 50))
def test_more_to_read_never_takes_less_time(sessions: int, segments: int) -> None:
    seconds = QUICK_STEPS.way(sessions, segments).seconds
    assert seconds <= QUICK_STEPS.way(sessions + 1, segments).seconds
    assert seconds <= QUICK_STEPS.way(sessions, segments + 1).seconds


@pytest.mark.parametrize("name", MECHANISMS)
def test_a_model_is_measured_as_it_is(name: str) -> None:
    """What has no wavefront is read in batches, however long the text."""
    model = random_model(MECHANISMS[name])
    pace = measured(model, torch.arange(8), rows=(1, 2), lanes=(1, 3), turns=1)
    assert pace.layers == 2
    assert list(pace.batches) == [1, 2]
    assert list(pace.wavefronts) == ([1, 3] if name.startswith(("delta", "armt")) else [])
    assert all(seconds > 0 for seconds in (*pace.batches.values(), *pace.wavefronts.values()))
    if not pace.wavefronts:
        assert pace.way(1, 1_000).kind == "batch"
