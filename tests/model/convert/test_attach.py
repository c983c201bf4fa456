"""A pretrained backbone with a fresh memory is the backbone still, and transformers agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from model import weights
from model.attach import attach
from model.config import Mechanism
from model.convert.tensors import ForeignModelError
from model.prompt import prompt_ids, window_ids
from tests.model.convert.making import SHAPES, pretrained, save_folder, spaced_original

pytestmark = pytest.mark.filterwarnings("ignore")

TOKENS = torch.randint(399, (1, 40), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("mechanism", ["armt", "delta"])
@pytest.mark.parametrize("shape", SHAPES)
def test_single_segments_are_the_backbones(shape: str, mechanism: Mechanism, tmp_path: Path) -> None:
    backbone = pretrained(shape)
    attach(save_folder(backbone, tmp_path / "in"), tmp_path / "out", mechanism, 24, 3, 4)
    model = weights.load(tmp_path / "out").model
    with torch.no_grad():
        expected = backbone(TOKENS).logits[0]
    memory = model.initial_memory(1)
    torch.testing.assert_close(model.logits(model.window(TOKENS, memory))[0], expected, rtol=0, atol=1e-4)
    # Untrained, a memory says nothing either: what was read before does not change an answer.
    memory = model.read(TOKENS[:, :24], memory)
    torch.testing.assert_close(model.logits(model.window(TOKENS, memory))[0], expected, rtol=0, atol=1e-4)


def test_a_chat_template_frames_tail_and_question(tmp_path: Path) -> None:
    report = attach(save_folder(pretrained("llama"), tmp_path / "in", chat=True), tmp_path / "out", "armt", 24, 3, 4)
    assert any("found: a chat template" in line for line in report)
    loaded = weights.load(tmp_path / "out")
    config, tokenizer = loaded.model.config, loaded.tokenizer
    tail, question = tokenizer.encode("He came."), tokenizer.encode("Who?")
    window = window_ids(config, tail, prompt_ids(config, question))
    (end,) = tokenizer.encode_template("<|end|>")
    shown = tokenizer.decode(token for token in window if token != end).decode()
    assert shown == "user\nHe came.\n\nWho?\nassistant\n"
    assert window.count(end) == 2


def test_segments_that_leave_no_room_are_refused(tmp_path: Path) -> None:
    folder = save_folder(pretrained("gpt2"), tmp_path / "in")
    with pytest.raises(ForeignModelError, match="give --segment"):
        attach(folder, tmp_path / "out", "armt", 90, 3, 4)


@pytest.mark.parametrize(
    ("mechanism", "segment", "message"),
    [
        ("rmt", 8, "no room to ask in a context of 96; the context is too short for any segment"),
        ("episodic", 24, "a context of 96 tokens is too short: the window of a question needs at least"),
        ("armt", 94, "window_tokens 96 must hold a segment and what the mechanism puts around it"),
    ],
)
def test_a_context_that_is_too_short_is_refused(
    mechanism: Mechanism, segment: int, message: str, tmp_path: Path
) -> None:
    folder = save_folder(pretrained("gpt2"), tmp_path / "in")
    with pytest.raises(ValueError, match=message):
        attach(folder, tmp_path / "out", mechanism, segment, 34, 4)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": {"type": "Unigram", "vocab": []}},
            "tokenizer.json: the tokeniser's model is Unigram; supported are",
        ),
        ({"model": {"type": "WordPiece", "vocab": {}}}, "the tokeniser's model is WordPiece; supported are byte-level"),
        ({"normalizer": {"type": "Lowercase"}}, "the tokeniser's normalizer Lowercase changes the text"),
    ],
)
def test_a_tokeniser_of_another_kind_is_refused_and_nothing_is_written(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    folder = save_folder(pretrained("llama"), tmp_path / "in")
    given = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**given, **changes}))
    with pytest.raises(ForeignModelError, match=message):
        attach(folder, tmp_path / "out", "armt", 24, 3, 4)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("end", ["</s>", "<|end|>"])
def test_a_tokeniser_with_more_entries_than_the_model_is_refused_and_nothing_is_written(
    end: str, tmp_path: Path
) -> None:
    """Whether what the model lacks is text or a special token that is needed."""
    folder = save_folder(pretrained("llama"), tmp_path / "in")
    (folder / "tokenizer.json").write_text(spaced_original("llama2").to_str())
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))
    with pytest.raises(ValueError, match="562 entries, the model 400: they do not belong together"):
        attach(folder, tmp_path / "out", "armt", 24, 3, 4)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    folder = save_folder(pretrained("gpt2"), tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("kept")
    with pytest.raises(ForeignModelError, match="not empty"):
        attach(folder, tmp_path / "out", "armt", 24, 3, 4)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]
