"""Skimming changes the time it takes to read a text, and nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.skimming import read_all
from model.transformer import MemoryTransformer
from tests.conftest import sometimes_silent_model

T = 8


@pytest.fixture(scope="module")
def model() -> MemoryTransformer:
    return sometimes_silent_model().double()


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(0, 8))
def test_skimming_equals_reading_every_segment(model: MemoryTransformer, seed: int, count: int, cut: int) -> None:
    segments = torch.randint(340, (count, T), generator=torch.Generator().manual_seed(seed))
    one_by_one = model.initial_memory(1)
    for index in range(count):
        one_by_one = model.read(segments[index : index + 1], one_by_one)
    skimmed = model.initial_memory(1)
    for part in (segments[:cut], segments[cut:]):
        skimmed = read_all(model, part, skimmed)
    assert torch.equal(skimmed["context"], one_by_one["context"])
    torch.testing.assert_close(skimmed["associations"], one_by_one["associations"], rtol=0, atol=1e-9)


def test_silent_segments_change_no_association(model: MemoryTransformer) -> None:
    segments = torch.randint(340, (64, T), generator=torch.Generator().manual_seed(3))
    memory = model.initial_memory(1)
    found = model.loud(segments, memory)
    assert 0 < len(found) < 64
    for index in range(64):
        after = model.read(segments[index : index + 1], memory)
        assert index in found or torch.equal(after["associations"], memory["associations"])
        memory = after
