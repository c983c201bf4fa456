"""A checkpoint comes back whole or not at all."""

from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors

from model.checkpoint import Checkpoint, CheckpointError, ForeignCheckpoint, export, load
from model.memory import MemoryState
from testing.models import random_model, tiny_config

MODEL = random_model(tiny_config())
LIKE = MODEL.initial_memory(1)
STATE = Checkpoint(MODEL.read(torch.arange(8)[None], LIKE), (1, 2, 3), b"caf\xc3", 4711, 11, 1)
VALUE = export(STATE, "one")


def test_a_checkpoint_round_trips() -> None:
    back = load(VALUE, "one", LIKE)
    assert back.memory.equals(STATE.memory)
    assert (back.tail, back.pending, back.offset, back.tokens, back.segments) == ((1, 2, 3), b"caf\xc3", 4711, 11, 1)


def test_any_safetensors_reader_opens_it() -> None:
    assert {"memory.associations", "memory.context", "tail", "pending"} == set(load_tensors(VALUE))


def test_a_checkpoint_of_other_weights_is_refused_by_name() -> None:
    with pytest.raises(ForeignCheckpoint) as caught:
        load(VALUE, "two", LIKE)
    assert (caught.value.found, caught.value.wanted) == ("one", "two")


@given(st.integers(0, 8 * len(VALUE) - 1))
def test_a_flipped_bit_is_detected(bit: int) -> None:
    damaged = bytearray(VALUE)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CheckpointError):
        load(bytes(damaged), "one", LIKE)


@given(st.integers(0, len(VALUE) - 1))
def test_a_truncated_file_is_detected(length: int) -> None:
    with pytest.raises(CheckpointError):
        load(VALUE[:length], "one", LIKE)


@given(st.binary(max_size=200))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(CheckpointError):
        load(noise, "one", LIKE)


@pytest.mark.parametrize("wrong", ["shape", "type", "missing", "infinite"])
def test_a_sound_file_of_another_memory_is_refused(wrong: str) -> None:
    tensors = dict(STATE.memory.tensors)
    match wrong:
        case "shape":
            tensors["associations"] = tensors["associations"][:, :1]
        case "type":
            tensors["associations"] = tensors["associations"].double()
        case "missing":
            del tensors["context"]
        case "infinite":
            tensors["associations"] = tensors["associations"] * torch.inf
    state = Checkpoint(MemoryState(tensors), (), b"", 0, 0, 0)
    with pytest.raises(CheckpointError, match="memory tensor"):
        load(export(state, "one"), "one", LIKE)


def test_flips_were_spread() -> None:
    """Every byte matters: one flip in each of many places, chosen without hypothesis' liking for the first ones."""
    random = Random(7)
    for _ in range(500):
        damaged = bytearray(VALUE)
        damaged[random.randrange(len(VALUE))] ^= 1 << random.randrange(8)
        with pytest.raises(CheckpointError):
            load(bytes(damaged), "one", LIKE)
