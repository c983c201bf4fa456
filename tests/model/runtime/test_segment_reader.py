"""Segments that the write gate skips change no memory: reading only the others gives the same result."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.mechanisms.delta import DeltaTransformer
from model.runtime.segment_reader import read_all
from testing.models import random_delta, sometimes_skipping_model, tiny_config

T = 8


@pytest.fixture(scope="module")
def model() -> DeltaTransformer:
    return sometimes_skipping_model().double()


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 8))
def test_reading_selected_segments_equals_reading_all(model: DeltaTransformer, seed: int, count: int, cut: int) -> None:
    segments = torch.randint(340, (count, T), generator=torch.Generator().manual_seed(seed))
    one_by_one = model.initial_memory(1)
    for index in range(count):
        one_by_one = model.read(segments[index : index + 1], one_by_one)
    found = model.initial_memory(1)
    for part in (segments[:cut], segments[cut:]):
        found = read_all(model, part, found)
    assert torch.equal(found["context"], one_by_one["context"])
    torch.testing.assert_close(found["associations"], one_by_one["associations"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("context", [0, 1, 3, 8])
def test_the_table_gives_the_scores_of_the_convolution(context: int) -> None:
    """Where the context is shorter than the write gate's window, missing tokens count as zero in both."""
    model = random_delta(tiny_config(context_tokens=context)).double()
    windows = torch.randint(340, (20, context + T), generator=torch.Generator().manual_seed(6))
    model.freeze()
    torch.testing.assert_close(
        model.write_gate.table_scores(windows, context), model.write_scores(windows)[:, context:], rtol=0, atol=1e-12
    )


def test_a_frozen_model_selects_the_same_segments(model: DeltaTransformer) -> None:
    segments = torch.randint(340, (64, T), generator=torch.Generator().manual_seed(3))
    frozen = sometimes_skipping_model().double()
    frozen.freeze()
    memory = model.initial_memory(1)
    assert frozen.select_segments(segments, memory) == model.select_segments(segments, memory)


def test_skipped_segments_change_no_association(model: DeltaTransformer) -> None:
    segments = torch.randint(340, (64, T), generator=torch.Generator().manual_seed(3))
    memory = model.initial_memory(1)
    found = model.select_segments(segments, memory)
    assert 0 < len(found) < 64
    for index in range(64):
        after = model.read(segments[index : index + 1], memory)
        assert index in found or torch.equal(after["associations"], memory["associations"])
        memory = after
