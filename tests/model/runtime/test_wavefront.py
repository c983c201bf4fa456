"""The wavefront returns the memories of the plain path and of the plain loops, in whatever order segments arrive."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.config import ModelConfig
from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.runtime.segment_reader import read_all
from model.runtime.wavefront.cells import Cells, cells_of
from model.runtime.wavefront.pipeline import Next, Pipeline, read_windows
from model.runtime.wavefront.wavefront import Arrival, Wavefront
from testing.models import MECHANISMS, REFERENCES, random_model, sometimes_skipping_model, tiny_config
from tests.model.mechanisms.test_naive import GEMMA, GPT2, LLAMA3, QWEN, flat, plain_read

T = 8
LAYERS = 3
CONFIGS = {
    name: replace(config, n_layers=LAYERS)
    for name, config in {
        "delta": tiny_config(),
        "delta, no threshold": tiny_config(write_threshold=0.0),
        "delta, one head, no context": tiny_config(memory_heads=1, context_tokens=0),
        "delta, gpt2": replace(tiny_config(), **GPT2),
        "armt": tiny_config(mechanism="armt"),
        "armt, normalized": tiny_config(mechanism="armt", normalize_phi=True),
        "armt, llama 3": replace(tiny_config(mechanism="armt"), **LLAMA3),
        "armt, gpt2": replace(tiny_config(mechanism="armt"), **GPT2),
        "armt, qwen": replace(tiny_config(mechanism="armt"), **QWEN),
        "delta, gemma 2 in one kind": replace(tiny_config(), **{**GEMMA, "layer_kinds": ("local",) * LAYERS}),
    }.items()
}
names = pytest.mark.parametrize("name", CONFIGS)


def model_and_cells(config: ModelConfig, dtype: torch.dtype) -> tuple[MemoryTransformer, Cells]:
    """The plain model, and a twin's cells: what the one computes does not depend on the other's weights."""
    cells = cells_of(random_model(config).to(dtype))
    assert cells is not None
    return random_model(config).to(dtype), cells


EXACT = {name: model_and_cells(config, torch.float64) for name, config in CONFIGS.items()}
SINGLE = {name: model_and_cells(config, torch.float32) for name, config in CONFIGS.items()}


def text(seed: int, segments: int) -> Tensor:
    return torch.randint(340, (segments, T), generator=torch.Generator().manual_seed(seed))


def one_by_one(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> MemoryState:
    for index in range(len(segments)):
        memory = model.read(segments[index : index + 1], memory)
    return memory


def read_texts(wavefront: Wavefront, texts: list[tuple[Tensor, MemoryState]]) -> list[MemoryState]:
    """The memory of each text (S, T), its selected segments read in the wavefront: what `read_all` does with each."""
    model = wavefront.model
    found = read_windows(wavefront, [(selected(model, *each), each[1]) for each in texts])
    return [
        model.skip(segments[-1:], memory) if len(segments) else memory
        for memory, (segments, _) in zip(found, texts, strict=True)
    ]


def selected(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> Tensor:
    """The windows (K, N) of the selected segments."""
    return model.windows(segments, memory)[model.select_segments(segments, memory)] if len(segments) else segments


def begun(model: MemoryTransformer, seed: int) -> MemoryState:
    """An initial memory for a session: after no, one or two segments."""
    return one_by_one(model, text(seed + 1000, seed % 3), model.initial_memory(1))


def assert_near(found: MemoryState, wanted: MemoryState, tolerance: float = 1e-10) -> None:
    assert found.tensors.keys() == wanted.tensors.keys()
    for part, tensor in wanted.tensors.items():
        assert found[part].dtype == tensor.dtype
        scale = max(1.0, float(tensor.double().abs().max())) if tensor.numel() else 1.0
        torch.testing.assert_close(found[part], tensor, rtol=tolerance, atol=tolerance * scale)


@names
@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 7)), min_size=1, max_size=5),
    st.integers(1, 3),
)
def test_texts_end_in_the_memories_of_reading_one_by_one(name: str, texts: list[tuple[int, int]], lanes: int) -> None:
    """Any number of sessions, lengths and lanes, each with an initial memory."""
    model, cells = EXACT[name]
    given_texts = [(text(seed, segments), begun(model, seed)) for seed, segments in texts]
    found = read_texts(Wavefront(cells, lanes), given_texts)
    for memory, (segments, before) in zip(found, given_texts, strict=True):
        assert_near(memory, read_all(model, segments, before))
        assert_near(memory, one_by_one(model, segments, before))


@names
@settings(max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 6))
def test_segments_may_arrive_at_any_step(name: str, seed: int, lanes: int, sessions: int) -> None:
    """Sessions interleave, arrive late, and return with the memory that the pipeline has returned before."""
    model, cells = EXACT[name]
    random, pipeline = Random(seed), Pipeline(Wavefront(cells, lanes))
    memories = {key: begun(model, seed + key) for key in range(sessions)}
    wanted = dict(memories)
    runs = {key: deque(random.randrange(1, 5) for _ in range(random.randrange(3))) for key in range(sessions)}
    segments: dict[int, deque[Next]] = {}
    while any(runs.values()) or segments or pipeline.inside:
        for key in random.sample(range(sessions), sessions):
            if len(segments) < lanes and runs[key] and key not in pipeline.inside and key not in segments:
                run = text(random.randrange(10_000), runs[key].popleft())
                segments[key] = deque(
                    Next(row, memories[key] if at == 0 else None, last=at == len(run) - 1) for at, row in enumerate(run)
                )
                wanted[key] = one_by_one(model, run, wanted[key])
        offered = {key: queue.popleft() for key, queue in segments.items() if random.random() < 0.6}
        segments = {key: queue for key, queue in segments.items() if queue}
        memories.update(pipeline.step(offered))  # type: ignore[arg-type]
    for key in range(sessions):
        assert_near(memories[key], wanted[key])


@names
@pytest.mark.parametrize("segments", [1, 2, LAYERS, 7])
def test_the_wavefront_equals_the_plain_loops(name: str, segments: int) -> None:
    config = CONFIGS[name]
    model, cells = EXACT[name]
    tokens = text(segments, segments)
    (memory,) = read_texts(Wavefront(cells, 1), [(tokens, model.initial_memory(1))])
    plain = plain_read(REFERENCES[config.mechanism](config, model), tokens.flatten().tolist())
    found = [memory[part][0] for part in sorted(memory.tensors)]
    for fast, slow in zip(found, flat(config.mechanism, plain), strict=True):
        # Without a unit length, ARMT divides by what can be nearly zero: its largest values say what rounding is.
        scale = max(1.0, float(slow.double().abs().max())) if slow.numel() else 1.0
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-9 * scale)


@names
def test_float32_stays_near_the_plain_path_and_near_float64(name: str) -> None:
    model, cells = SINGLE[name]
    exact, _ = EXACT[name]
    segments = text(4, 6)
    (found,) = read_texts(Wavefront(cells, 1), [(segments, model.initial_memory(1))])
    assert_near(found, read_all(model, segments, model.initial_memory(1)), 1e-4)
    precise = read_all(exact, segments, exact.initial_memory(1))
    doubled = MemoryState({part: tensor.to(precise[part].dtype) for part, tensor in found.tensors.items()})
    assert_near(doubled, precise, 1e-3)


@names
def test_the_memory_after_each_segment_is_available_while_its_session_reads_on(name: str) -> None:
    model, cells = EXACT[name]
    wavefront, segments, memory = Wavefront(cells, 1), text(8, 6), model.initial_memory(1)
    flow, departures = wavefront.begin(), []
    for index in range(len(segments) + LAYERS - 1):
        arrival = None
        if index < len(segments):
            brought = memory if index == 0 else None
            arrival = Arrival(segments[index], brought, wanted=index % 2 == 0, label=index)
        flow, departed = wavefront.step(flow, [arrival])
        departures += departed
    assert [departure.label for departure in departures] == list(range(len(segments)))
    for index, departure in enumerate(departures):
        memory = model.read(segments[index : index + 1], memory)
        assert (departure.memory is not None) == (index % 2 == 0)
        if departure.memory is not None:
            assert_near(departure.memory, memory)


@names
@given(st.integers(0, 1000), st.integers(0, 2))
@settings(max_examples=10)
def test_company_does_not_matter(name: str, seed: int, lane: int) -> None:
    """A lane gives the same bits with any segments in the other lanes, or none."""
    _, cells = SINGLE[name]
    wavefront, mine = Wavefront(cells, 3), text(seed, 4)
    first, second, alone = (_read_among(wavefront, mine, lane, Random(seed + n), n < 2) for n in range(3))
    for other in (second, alone):
        for part, tensor in first.tensors.items():
            # Where ARMT divides by nearly zero, values overflow: then to the same values.
            torch.testing.assert_close(other[part], tensor, rtol=0, atol=0, equal_nan=True)


def _read_among(wavefront: Wavefront, mine: Tensor, lane: int, random: Random, company: bool) -> MemoryState:
    flow = wavefront.begin()
    blank = wavefront.model.initial_memory(1)
    for index in range(len(mine) + wavefront.layers - 1):
        arrivals: list[Arrival | None] = [None] * wavefront.lanes
        for other in range(wavefront.lanes):
            if company and random.random() < 0.7:
                arrivals[other] = Arrival(text(random.randrange(10_000), 1)[0], blank)
        last = index == len(mine) - 1
        arrivals[lane] = (
            Arrival(mine[index], None if index else blank, wanted=last, label="mine") if index < len(mine) else None
        )
        flow, departures = wavefront.step(flow, arrivals)
    (found,) = (departure.memory for departure in departures if departure.label == "mine")
    assert found is not None
    return found


@names
def test_a_step_does_not_change_its_flow_and_memories(name: str) -> None:
    model, cells = EXACT[name]
    wavefront, segments, before = Wavefront(cells, 2), text(3, 4), begun(model, 2)
    kept = {part: tensor.clone() for part, tensor in before.tensors.items()}
    flow, _ = wavefront.step(wavefront.begin(), [Arrival(segments[0], before), None])
    tensors = {"hidden": flow.hidden, **flow.carried, **flow.memory}
    copies = {part: tensor.clone() for part, tensor in tensors.items()}
    for arrivals in ([Arrival(segments[1]), Arrival(segments[2], before)], [None, None]):
        wavefront.step(flow, arrivals)
        assert all(torch.equal(tensor, copies[part]) for part, tensor in tensors.items())
    assert before.equals(MemoryState(kept))


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.9])
def test_segments_written_in_several_parts_equal_the_plain_loops(threshold: float) -> None:
    """Writing tokens at any places, in parts of 16 tokens with a shorter last one."""
    config = tiny_config(segment_tokens=40, write_threshold=threshold, n_layers=2)
    model, cells = model_and_cells(config, torch.float64)
    segments = torch.randint(340, (4, 40), generator=torch.Generator().manual_seed(3))
    writers = [int((model.gates(row[None]) > 0).sum()) for row in segments]  # type: ignore[operator]
    assert {0.0: min(writers) == 40, 0.4: 16 < max(writers) < 40, 0.9: 0 < max(writers) < 16}[threshold], writers
    reference = REFERENCES["delta"](config, model)
    plain = reference.initial_memory()
    for row in segments.tolist():
        plain = reference.read(row, plain)  # type: ignore[arg-type]
    (wanted, _) = flat("delta", plain)
    blank = model.initial_memory(1)
    assert_near(MemoryState({"a": one_by_one(model, segments, blank)["associations"][0]}), MemoryState({"a": wanted}))
    (found,) = read_texts(Wavefront(cells, 1), [(segments, blank)])
    assert_near(MemoryState({"a": found["associations"][0]}), MemoryState({"a": wanted}))


def test_skipped_segments_are_not_read_and_still_give_context() -> None:
    model = sometimes_skipping_model().double()
    cells = cells_of(sometimes_skipping_model().double())
    assert cells is not None
    texts = [(text(seed, segments), begun(model, seed)) for seed, segments in ((1, 9), (2, 0), (3, 1), (4, 12))]
    selected_counts = [len(selected(model, *each)) for each in texts]
    assert 0 < sum(selected_counts) < sum(len(segments) for segments, _ in texts)
    for memory, (segments, before) in zip(read_texts(Wavefront(cells, 2), texts), texts, strict=True):
        assert_near(memory, one_by_one(model, segments, before))


def test_a_text_without_a_selected_segment_keeps_its_associations() -> None:
    model = random_model(tiny_config(write_threshold=0.999999)).double()
    cells = cells_of(model)
    assert cells is not None
    before = model.initial_memory(1)
    (memory,) = read_texts(Wavefront(cells, 1), [(text(1, 3), before)])
    assert torch.equal(memory["associations"], before["associations"])
    assert memory["context"].tolist() == text(1, 3)[-1:, -3:].tolist()


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("mechanism", ["delta", "armt"])
def test_few_layers(layers: int, mechanism: str) -> None:
    model, cells = model_and_cells(tiny_config(n_layers=layers, mechanism=mechanism), torch.float64)
    texts = [(text(seed, 3), model.initial_memory(1)) for seed in range(3)]
    for memory, (segments, before) in zip(read_texts(Wavefront(cells, 2), texts), texts, strict=True):
        assert_near(memory, one_by_one(model, segments, before))


@pytest.mark.parametrize("name", ["rmt", "memformer"])
def test_mechanisms_whose_first_layer_reads_what_the_last_layer_wrote_have_no_wavefront(name: str) -> None:
    assert cells_of(random_model(MECHANISMS[name])) is None


def test_layers_of_several_kinds_have_no_wavefront() -> None:
    assert cells_of(random_model(replace(tiny_config(), **GEMMA))) is None


def test_a_refused_step_changes_nothing() -> None:
    model, cells = EXACT["delta"]
    segments, blank = text(1, 3), model.initial_memory(1)
    wavefront = Wavefront(cells, 1)
    with pytest.raises(ValueError, match="must bring its session's memory"):
        wavefront.step(wavefront.begin(), [Arrival(segments[0])])
    with pytest.raises(ValueError, match="2 arrivals for 1 lanes"):
        wavefront.step(wavefront.begin(), [None, None])
    pipeline = Pipeline(wavefront)
    with pytest.raises(ValueError, match="must bring its memory"):
        pipeline.step({"a": Next(segments[0])})
    pipeline.step({"a": Next(segments[0], blank)})
    with pytest.raises(ValueError, match="no lane is free for 'b'"):
        pipeline.step({"b": Next(segments[0], blank)})
    pipeline.step({"a": Next(segments[1], last=True)})
    assert pipeline.inside == {"a"}
    with pytest.raises(ValueError, match="is not finished yet"):
        pipeline.step({"a": Next(segments[2], blank)})
    # Behind the last segment of "a" its lane is free.
    out = pipeline.step({"b": Next(segments[2], blank, last=True)})
    while pipeline.inside:
        out.update(pipeline.step({}))
    assert_near(out["a"], one_by_one(model, segments[:2], blank))
    assert_near(out["b"], one_by_one(model, segments[2:], blank))
