"""The promises of a memory as a value: cuts, company, saving and restoring."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from model.checkpoint import Checkpoint, decode, encode
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, MECHANISMS, prose, random_model

CONFIGS = {**MECHANISMS, "episodic": EPISODIC}
MODELS = {name: random_model(config) for name, config in CONFIGS.items()}
EXACT = {name: random_model(config).double() for name, config in CONFIGS.items()}
mechanisms = pytest.mark.parametrize("name", CONFIGS)
FINGERPRINT = "f" * 64


def begun(model: MemoryTransformer) -> Checkpoint:
    return Checkpoint(model.initial_memory(1), (), b"", 0, 0, 0)


def read_on(model: MemoryTransformer, tokenizer: TextTokenizer, state: Checkpoint, data: bytes) -> Checkpoint:
    """The state after more text: what the server does, without the server."""
    ids, pending = tokenizer.advance(state.pending, data)
    unread, step = [*state.tail, *ids], model.config.segment_tokens
    memory, whole = state.memory, len(unread) // step
    documents = state.documents
    if documents:
        last = documents[-1]
        last = last._replace(size=last.size + len(data), tokens=last.tokens + len(ids))
        documents = (*documents[:-1], last)
    for index in range(whole):
        memory = model.read(torch.tensor([unread[index * step : (index + 1) * step]]), memory)
    return Checkpoint(
        memory,
        tuple(unread[whole * step :]),
        pending,
        state.offset + len(data),
        state.tokens + len(ids),
        state.segments + whole,
        documents,
    )


def begin(model: MemoryTransformer, tokenizer: TextTokenizer, state: Checkpoint, name: str) -> Checkpoint:
    """The state where a document begins: what the server does, without the server."""
    ids = [] if model.document_fill is None else tokenizer.finish(state.pending)
    advance = state.begin(name, ids, model.config.segment_tokens, model.document_fill)
    memory = state.memory
    for segment in advance.segments:
        memory = model.read(torch.tensor([segment]), memory)
    return advance.finish(memory)


def is_finite(state: Checkpoint) -> bool:
    """Whether the memory can be stored: ARMT's random weights make of some texts more than float32 can hold."""
    return all(bool(tensor.isfinite().all()) for tensor in state.memory.tensors.values() if tensor.is_floating_point())


def same(one: Checkpoint, other: Checkpoint) -> bool:
    return one.memory.equals(other.memory) and replace(one, memory=other.memory) == other


@mechanisms
@given(st.integers(0, 1000), st.lists(st.integers(0, 400), max_size=12), st.sets(st.integers(0, 12)))
def test_cuts_do_not_matter(tokenizer: TextTokenizer, name: str, seed: int, cuts: list[int], saves: set[int]) -> None:
    """Any cuts, inside characters too, with a save and a restore at any of them: the same memory, bit for bit."""
    model = MODELS[name]
    model.use_vocabulary(tokenizer.pieces)
    text = prose(seed, 300).encode()
    whole = read_on(model, tokenizer, begun(model), text)
    assume(is_finite(whole))
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    state = begun(model)
    for number, (start, end) in enumerate(pairwise(places)):
        state = read_on(model, tokenizer, state, text[start:end])
        if number in saves:
            state = decode(encode(state, FINGERPRINT), FINGERPRINT, model.initial_memory(1))
    assert same(state, whole)


@mechanisms
@given(
    st.integers(0, 1000),
    st.sets(st.integers(0, 300), max_size=6),
    st.lists(st.integers(0, 400), max_size=8),
    st.sets(st.integers(0, 12)),
)
def test_cuts_do_not_matter_with_documents(
    tokenizer: TextTokenizer, name: str, seed: int, begins: set[int], cuts: list[int], saves: set[int]
) -> None:
    """Documents begin at some characters of a text: its cuts, and saves and restores, change nothing."""
    model = MODELS[name]
    model.use_vocabulary(tokenizer.pieces)
    text = prose(seed, 300)
    marks = {len(text[:at].encode()): f"{number % 3}" for number, at in enumerate(sorted(begins)) if at < len(text)}

    def read_cut(places: list[int], saved: set[int]) -> Checkpoint:
        state, data = begun(model), text.encode()
        ends = sorted({0, len(data), *marks, *(min(place, len(data)) for place in places)})
        for number, (start, end) in enumerate(pairwise(ends)):
            if start in marks:
                state = begin(model, tokenizer, state, marks[start])
            state = read_on(model, tokenizer, state, data[start:end])
            if number in saved:
                state = decode(encode(state, FINGERPRINT), FINGERPRINT, model.initial_memory(1))
        return state

    whole = read_cut([], set())
    assume(is_finite(whole))
    assert same(read_cut(cuts, saves), whole)
    assert [(part.offset, part.name) for part in whole.documents] == sorted(marks.items())


@mechanisms
@given(st.integers(0, 1000), st.integers(0, 3))
def test_company_does_not_matter(name: str, seed: int, place: int) -> None:
    """At equal batch shape a row's memory has the same bits, whatever the other rows are."""
    random = Random(seed)
    mine = [[random.randrange(340) for _ in range(8)] for _ in range(3)]
    first, second = (_read_among(MODELS[name], mine, Random(seed + n), place) for n in (1, 2))
    assert first.equals(second)


@mechanisms
@given(st.integers(0, 1000))
def test_batch_sizes_agree_within_rounding(name: str, seed: int) -> None:
    model = EXACT[name]
    random = Random(seed)
    mine = [[random.randrange(340) for _ in range(8)] for _ in range(3)]
    alone = model.initial_memory(1)
    for segment in mine:
        alone = model.read(torch.tensor([segment]), alone)
    among = _read_among(model, mine, random, 2)
    for part in alone.tensors:
        torch.testing.assert_close(alone[part], among[part], rtol=1e-9, atol=1e-9)


def _read_among(model: MemoryTransformer, mine: list[list[int]], others: Random, place: int) -> MemoryState:
    memories = [model.initial_memory(1)] * 4
    for segment in mine:
        rows = [[others.randrange(340) for _ in range(8)] for _ in range(4)]
        rows[place] = segment
        memories = model.read(torch.tensor(rows), MemoryState.stack(memories)).unstack()
    return memories[place]


@mechanisms
def test_stacking_and_unstacking_are_inverse(name: str) -> None:
    model = MODELS[name]
    states = [model.read(torch.randint(340, (1, 8)), model.initial_memory(1)) for _ in range(3)]
    stacked = MemoryState.stack(states)
    assert stacked.batch == 3
    assert stacked.nbytes == sum(state.nbytes for state in states)
    assert all(one.equals(other) for one, other in zip(stacked.unstack(), states, strict=True))
