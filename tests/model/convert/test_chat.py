"""Chat templates of every family: what stands around a question, and what ends an answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from transformers.utils.chat_template_utils import render_jinja_template

from model import weights
from model.attach import attach
from model.checkpoint import Checkpoint
from model.convert.chat import ChatFrame, chat_frame, folder_chat_frame
from model.convert.tensors import ForeignModelError
from model.prompt import prompt_ids, window_ids
from testing.models import prose
from tests.model.convert.chat_templates import TEMPLATES
from tests.model.convert.making import foreign_tokenizer, pretrained, save_folder, spaced_original

pytestmark = pytest.mark.filterwarnings("ignore")

TEXT = "He came to the river."
families = pytest.mark.parametrize("family", TEMPLATES)


def named(tokens: tuple[str, ...]) -> dict[str, str]:
    """The names that a folder's tokenizer_config.json gives to its first two special tokens."""
    return {"bos_token": tokens[0], "eos_token": tokens[1]}


@families
def test_frames_are_what_transformers_renders(family: str) -> None:
    template, tokens, _ = TEMPLATES[family]
    frame = chat_frame(template.replace('strftime_now("%d %B %Y")', '"a day"'), named(tokens), Path())
    messages = [{"role": "user", "content": TEXT}, {"role": "assistant", "content": "Yes."}]
    given: dict[str, Any] = {
        "chat_template": template.replace('strftime_now("%d %B %Y")', '"a day"'),
        "enable_thinking": False,
        **named(tokens),
    }
    prompt = render_jinja_template([messages[:1]], add_generation_prompt=True, **given)[0][0]
    assert frame.before + TEXT + frame.behind == prompt
    whole = render_jinja_template([messages], **given)[0][0]
    assert whole.endswith(f"Yes.{frame.end}")


def folder_of(family: str, folder: Path, template: str | None) -> Path:
    """A small model with its family's special tokens and template, and its kind of tokeniser."""
    _, tokens, _ = TEMPLATES[family]
    save_folder(pretrained(family), folder)
    if family in ("gemma 2", "phi 3", "mistral"):
        tokenizer = spaced_original("gemma" if family == "gemma 2" else "llama2")
    else:
        tokenizer = Tokenizer.from_str(foreign_tokenizer("qwen2").to_json())
    tokenizer.add_special_tokens([token for token in tokens if "think" not in token])
    tokenizer.add_tokens([token for token in tokens if "think" in token])
    first = tokenizer.token_to_id(tokens[0])
    tokenizer.post_processor = processors.TemplateProcessing(f"{tokens[0]} $A", special_tokens=[(tokens[0], first)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {**named(tokens), **({} if template is None else {"chat_template": template})}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    settings = json.loads((folder / "config.json").read_text())
    return _with_entries(folder, settings, tokenizer.get_vocab_size() + 3)


def _with_entries(folder: Path, settings: dict[str, Any], entries: int) -> Path:
    """The same model with more entries than the tests' other models have."""
    (folder / "config.json").write_text(
        json.dumps({**settings, "vocab_size": entries, "max_position_embeddings": 1024})
    )
    tensors = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        if name in tensors:
            tensors[name] = torch.nn.functional.pad(tensors[name], (0, 0, 0, entries - 400))
    save_file(tensors, folder / "model.safetensors")
    return folder


@families
def test_a_family_s_folder_is_attached_with_its_template(family: str, tmp_path: Path) -> None:
    template, tokens, end = TEMPLATES[family]
    attach(folder_of(family, tmp_path / "in", template), tmp_path / "out", "armt", 24, 3, 4)
    loaded = weights.load(tmp_path / "out")
    config, tokenizer = loaded.model.config, loaded.tokenizer
    special = {name: tokenizer.special_id(name) for name in tokens}
    assert config.special.end == special[end] is not None
    tail, question = tokenizer.encode(TEXT), tokenizer.encode("Who?")
    window = window_ids(config, tail, prompt_ids(config, question))
    frame = folder_chat_frame(tmp_path / "in")
    assert frame is not None
    # Every special token that the template names is one token; all else are the template's own characters.
    text = frame.before + TEXT + "\n\nWho?" + frame.behind
    shown = b"".join(
        next((name.encode() for name, id_ in special.items() if id_ == token), tokenizer.pieces[token])
        for token in window
    )
    assert shown.decode() == text
    assert all(window.count(id_) == text.count(name) for name, id_ in special.items() if id_ is not None)


@families
def test_a_general_memory_around_a_family_s_model_answers_as_transformers_does(family: str, tmp_path: Path) -> None:
    """What is read again, the tail and the question, in the family's own frame: the next token's logits."""
    attach(folder_of(family, tmp_path / "in", TEMPLATES[family][0]), tmp_path / "out", "episodic", 16, 3, 4, 32)
    loaded = weights.load(tmp_path / "out")
    model, config, tokenizer = loaded.model, loaded.model.config, loaded.tokenizer
    text = prose(7, 700).encode()
    ids, pending = tokenizer.advance(b"", text)
    start = Checkpoint.empty(model.initial_memory(1))
    advance = start.advance(ids, pending, len(text), config.segment_tokens)
    memory = model.skip(torch.tensor(advance.segments), start.memory)
    tail, asked = [*advance.after.tail, *tokenizer.flush(pending)], tokenizer.encode("Which river?")
    recall = model.recall(asked, memory, tail)
    assert all(source.text.encode() in text for source in recall.sources)
    window = torch.tensor([window_ids(config, [*recall.tokens, *tail], prompt_ids(config, asked))])
    hidden, _ = model.prefill(window, torch.tensor([window.shape[1]]), recall.memory, 4)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "in", attn_implementation="eager")
    with torch.no_grad():
        expected = theirs(window).logits[0, -1:]
    torch.testing.assert_close(model.logits(hidden), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("family", ["gemma 2", "mistral"])
def test_without_a_template_a_window_begins_as_the_tokeniser_begins_texts(family: str, tmp_path: Path) -> None:
    attach(folder_of(family, tmp_path / "in", None), tmp_path / "out", "armt", 24, 3, 4)
    loaded = weights.load(tmp_path / "out")
    special = loaded.model.config.special
    tokens = TEMPLATES[family][1]
    assert special.opening == (loaded.tokenizer.special_id(tokens[0]),)
    assert special.end == loaded.tokenizer.special_id(tokens[1])


def test_nothing_that_could_end_an_answer_is_an_error_that_names_what_could(tmp_path: Path) -> None:
    folder = save_folder(pretrained("llama"), tmp_path / "in")
    text = (folder / "tokenizer.json").read_text().replace("<|end|>", "<|last|>")
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(ForeignModelError, match=r"nothing could end an answer: .* none of <\|im_end\|>, <\|eot_id\|>"):
        attach(folder, tmp_path / "out", "armt", 24, 3, 4)
    assert not (tmp_path / "out").exists()


def test_a_template_that_names_the_day_gives_the_same_frame_on_every_day() -> None:
    template, tokens, _ = TEMPLATES["smollm 3"]
    assert (
        "Today Date: 01 January 2025\nReasoning Mode: /no_think" in chat_frame(template, named(tokens), Path()).before
    )


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ([{"name": "tool_use", "template": "x"}, {"name": "default", "template": "a{{ messages[0].content }}b"}], "a"),
        ([{"name": "tool_use", "template": "x"}], None),
        (None, None),
    ],
)
def test_of_several_templates_the_default_one_is_used(template: Any, expected: str | None, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    frame = folder_chat_frame(tmp_path)
    assert frame == (None if expected is None else ChatFrame("a", "b", ""))


def test_a_template_in_a_file_of_its_own_is_read_with_the_tokens_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<s>"}, "chat_template": "x"}))
    (tmp_path / "chat_template.jinja").write_text("{{ bos_token }}{% for m in messages %}{{ m.content }}!{% endfor %}")
    assert folder_chat_frame(tmp_path) == ChatFrame("<s>", "!", "!")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ raise_exception('no users here') }}", "cannot be rendered: no users here"),
        ("{% for %}", "cannot be rendered"),
        ("{{ messages[0].content + 1 }}", "cannot be rendered"),
        ("{{ ''.__class__.__mro__ }}", "cannot be rendered"),
        ("hello", "leaves out what the user says"),
    ],
)
def test_a_template_that_fails_is_named_with_the_cause(template: str, message: str) -> None:
    with pytest.raises(ForeignModelError, match=f"the chat template of here {message}"):
        chat_frame(template, {}, Path("here"))
