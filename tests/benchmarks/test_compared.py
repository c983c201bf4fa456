"""Both sides of the comparison have the same blocks and text, and every length that fits has figures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchmarks.bare import read
from benchmarks.compared import (
    ANSWER_TOKENS,
    NAME,
    SEGMENTS_AT_ONCE,
    Costs,
    against_each_other,
    answer_from_cache,
    fitting_lengths,
    full_attention_of,
    measure,
    read_in_one_window,
    read_once,
)
from benchmarks.plan import Plan, Sizes
from benchmarks.report import as_json
from model import weights
from model.tokenizer import TextTokenizer
from server.settings import Settings
from testing.models import random_model, tiny_config

TOKENS = torch.randint(340, (1, 48), generator=torch.Generator().manual_seed(2))


@torch.inference_mode()
def test_one_prefill_gives_the_same_kv_cache_as_prefill_in_chunks() -> None:
    rival = full_attention_of(random_model(tiny_config()).double())
    pieces, whole = rival.empty_cache(1, 60), read_in_one_window(rival, TOKENS, 12)
    for piece in torch.split(TOKENS, 16, dim=1):
        rival.extend(piece, pieces)
    assert whole.lengths.tolist() == pieces.lengths.tolist() == [48]
    for name in ("keys", "values"):
        torch.testing.assert_close(whole[name], pieces[name], rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_the_full_attention_baseline_has_the_models_own_weights() -> None:
    """An empty memory adds nothing, so the model then equals the baseline."""
    model = random_model(tiny_config(mechanism="armt", memory_tokens=0)).double()
    rival = full_attention_of(model)
    ours = model.window(TOKENS, model.initial_memory(1))
    torch.testing.assert_close(rival.extend(TOKENS, rival.empty_cache(1, 48)), ours, rtol=1e-9, atol=1e-9)


@torch.inference_mode()
def test_a_second_answer_from_the_kv_cache_is_the_same() -> None:
    rival = full_attention_of(random_model(tiny_config()).double())
    prompt = torch.tensor([[341, 5, 6, 342]])
    cache = read_in_one_window(rival, TOKENS, prompt.shape[1] + ANSWER_TOKENS)
    first, second = (answer_from_cache(rival, prompt, cache) for _ in range(2))
    tokens = torch.cat([TOKENS, prompt], dim=1)
    for token in first:
        hidden = rival.extend(tokens, rival.empty_cache(1, tokens.shape[1]))
        assert int(rival.logits(hidden[:, -1]).argmax()) == token
        tokens = torch.cat([tokens, torch.tensor([[token]])], dim=1)
    assert first == second
    assert len(first) == ANSWER_TOKENS


@pytest.mark.parametrize("segments", [1, SEGMENTS_AT_ONCE, 2 * SEGMENTS_AT_ONCE + 5])
def test_read_once_ends_in_the_memory_of_reading_one_segment_at_a_time(segments: int) -> None:
    model = random_model(tiny_config(n_layers=3)).double()
    text = torch.randint(340, (segments, 8), generator=torch.Generator().manual_seed(3))
    wanted, found = read(model, text, model.initial_memory(1)), read_once(model, text)
    for name, tensor in wanted.tensors.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-9)


def test_a_length_that_does_not_fit_in_memory_is_left_out_with_a_message(capsys: pytest.CaptureFixture[str]) -> None:
    # Keys and values of 2 layers with 2 heads of 4 in float32, and a window's activations.
    per_token = 2 * 2 * 2 * 4 * 4 + 4 * (8 * 16 + 4 * 24)
    lengths = fitting_lengths(tiny_config(), [8, 16, 24], torch.device("cpu"), budget_bytes=16 * per_token)
    assert lengths == [8, 16]
    assert f"needs {24 * per_token:,} bytes for 24 tokens and is left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("reading_seconds", "questions", "met"),
    [(0.5, 1, True), (1.0, 1, True), (1.1, 2, False), (3.0, 3, False), (3.1, 4, False)],
)
def test_the_number_of_questions_at_which_reading_once_breaks_even(
    reading_seconds: float, questions: int, met: bool
) -> None:
    """A question costs 1.25 s by rereading and 0.25 s by what was read once."""
    figures = against_each_other(64, Costs(1.0, 0.25, 800), Costs(reading_seconds, 0.25, 100))
    found = {figure.name: figure for figure in figures}
    assert found["at_64_tokens_break_even_questions"].value == questions
    assert found["at_64_tokens_reading_once_and_asking_to_rereading_ratio"].met is met
    assert found["at_64_tokens_question_rereading_to_onceread_ratio"].value == 5.0
    assert found["at_64_tokens_question_caching_to_onceread_ratio"].value == 1.0
    assert found["at_64_tokens_kept_caching_to_onceread_ratio"].value == 8.0


def test_no_break_even_is_reported_if_reading_once_never_pays_off() -> None:
    figures = against_each_other(64, Costs(0.1, 0.1, 800), Costs(0.1, 0.3, 100))
    assert not [figure for figure in figures if "break_even" in figure.name]
    assert [figure.met for figure in figures if figure.goal] == [False]


def test_a_text_whose_segments_are_skipped_is_refused(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    weights.save(tmp_path, random_model(tiny_config(write_threshold=0.999999)), tokenizer, torch.float32)
    sizes = Sizes(16, 32, rounds=1, compared_tokens=(64,), compared_alone_tokens=())
    with pytest.raises(ValueError, match="write more facts into it"):
        measure(Plan(tmp_path, weights.load(tmp_path), Settings.from_environment({}), sizes))


def test_every_length_is_reported(tmp_path: Path, tokenizer: TextTokenizer) -> None:
    weights.save(tmp_path, random_model(tiny_config(write_threshold=0.0)), tokenizer, torch.float32)
    sizes = Sizes(16, 32, rounds=1, compared_tokens=(8, 35), compared_alone_tokens=(64,))
    section = measure(Plan(tmp_path, weights.load(tmp_path), Settings.from_environment({}), sizes))
    figures = json.loads(as_json({}, [section]))["sections"][NAME]["figures"]
    kept = {name: figure["value"] for name, figure in figures.items() if name.endswith("_kept_bytes")}
    memory = kept["onceread_at_8_tokens_kept_bytes"]
    # Keys and values of 2 layers with 2 heads of 4 in float32: 128 bytes a token; lengths are whole segments of 8.
    assert kept == {
        "full_attention_at_8_tokens_kept_bytes": 8 * 128,
        "full_attention_at_32_tokens_kept_bytes": 32 * 128,
        **{f"onceread_at_{n}_tokens_kept_bytes": memory for n in (8, 32, 64)},
    }
    assert all(figure["value"] > 0 for figure in figures.values())
    paid = figures["full_attention_at_32_tokens_rereading_question_tokens"]["value"]
    assert paid == 32 + figures["onceread_at_32_tokens_question_tokens"]["value"]
