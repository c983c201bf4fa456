"""A GGUF file becomes the same weights as a Hugging Face folder of the same model; what cannot be read is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import dequantize, quantize
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from model import weights
from model.attach import attach
from model.convert.gguf import GgufFile
from model.convert.gguf_tokenizer import tokenizer_json
from model.convert.tensors import ForeignModelError
from model.tokenizer import TextTokenizer
from tests.model.convert.gguf_files import (
    PRE,
    Kind,
    model_metadata,
    stored_tensors,
    tokenizer_metadata,
    write_gguf,
)
from tests.model.convert.making import CHAT, foreign_tokenizer, pretrained, save_folder

pytestmark = pytest.mark.filterwarnings("ignore")


def written(folder: Path, model: nn.Module, kind: Kind = Kind.F32, **changes: Any) -> Path:
    """A file of the model with the tests' Llama 3 tokeniser; a change with the value None leaves a field out."""
    metadata = model_metadata(model) | tokenizer_metadata(foreign_tokenizer("llama3"), "llama3", CHAT)
    metadata |= {name.replace("__", "."): value for name, value in changes.items()}
    kept = {name: value for name, value in metadata.items() if value is not None}
    return write_gguf(folder / "model.gguf", stored_tensors(model, kind), kept)


@pytest.mark.parametrize("kind", [Kind.F32, Kind.F16, Kind.Q8_0, Kind.Q4_1], ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", ["llama", "llama, tied"])
def test_a_file_and_a_folder_of_one_model_become_the_same_weights(shape: str, kind: Kind, tmp_path: Path) -> None:
    model = pretrained(shape).float()
    attach(written(tmp_path, model, kind), tmp_path / "of-file", "armt", 24, 3, 4)
    # The folder has the values that the quantization leaves.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2 and parameter.shape[1] % 32 == 0:
                left = dequantize(quantize(parameter.numpy(), kind), kind)
                parameter.copy_(torch.from_numpy(left.astype(np.float32)))
    attach(save_folder(model, tmp_path / "in", chat=True), tmp_path / "of-folder", "armt", 24, 3, 4)
    found, expected = (load_file(tmp_path / name / weights.WEIGHTS) for name in ("of-file", "of-folder"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.items())
    configurations = [(tmp_path / name / weights.CONFIG).read_text() for name in ("of-file", "of-folder")]
    assert configurations[0] == configurations[1]


@pytest.mark.parametrize("style", PRE)
def test_the_tokeniser_is_the_one_that_the_file_was_made_from(style: str, tmp_path: Path) -> None:
    original = foreign_tokenizer(style)
    path = write_gguf(tmp_path / "model.gguf", {}, tokenizer_metadata(original, style))
    read = TextTokenizer.from_json(tokenizer_json(GgufFile(path)))

    @given(st.text(st.characters(codec="utf-8")) | st.text("a1 \t\r\n'sltve.é日🙂"))
    def same(text: str) -> None:
        assert read.encode(text) == original.encode(text)
        assert read.decode(read.encode(text)) == text.encode()

    same()
    same_name = "a<|end|>b"
    assert read.encode(same_name) == original.encode(same_name)
    assert read.encode_template(same_name) == original.encode_template(same_name)
    assert read.special_id("<|end|>") == original.special_id("<|end|>")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"general__architecture": "qwen2"}, "architecture 'qwen2'"),
        ({"split__count": 2}, "several parts"),
        ({"llama__expert_count": 8}, "expert_count 8"),
        ({"llama__rope__scaling__type": "yarn"}, "'yarn'"),
        ({"llama__rope__dimension_count": 4}, r"query.weight: \[32, 32\], expected \[16, 32\]"),
        ({"llama__attention__head_count": [4, 2]}, "different llama.attention.head_count"),
        ({"llama__attention__head_count": 0}, "llama.attention.head_count is 0"),
        ({"llama__block_count": None}, "lacks the field llama.block_count"),
        ({"llama__block_count": 1}, "not known: model.layers.1"),
        ({"llama__block_count": 3}, "missing: model.layers.2"),
        ({"tokenizer__ggml__model": "llama"}, "tokeniser of the kind 'llama'"),
        ({"tokenizer__ggml__pre": "viking"}, "pre-tokeniser 'viking'"),
        ({"tokenizer__ggml__merges": ["nothing there"]}, "merges do not fit"),
        ({"tokenizer__chat_template": "{% for %}"}, "template of .* cannot be rendered"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_model_that_is_not_supported_is_refused_and_nothing_is_written(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    model = pretrained("llama")
    architecture = changes.pop("general__architecture", None)
    path = written(tmp_path, model, **changes)
    if architecture:
        write_gguf(path, {}, {}, architecture)
    with pytest.raises(ForeignModelError, match=message):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)
    assert not (tmp_path / "out").exists()


def test_tensors_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    tensors = stored_tensors(pretrained("llama"), Kind.F32)
    metadata = model_metadata(pretrained("llama")) | tokenizer_metadata(foreign_tokenizer("llama3"), "llama3")
    blocks = np.zeros((400, 40), dtype=np.uint8)
    path = write_gguf(tmp_path / "a.gguf", tensors | {"token_embd.weight": (blocks, Kind.Q8_1)}, metadata)
    with pytest.raises(ForeignModelError, match=r"Q8_1 of token_embd\.weight"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)
    stretched = {"rope_freqs.weight": (np.ones(4, dtype=np.float32), Kind.F32)}
    path = write_gguf(tmp_path / "b.gguf", tensors | stretched, metadata)
    with pytest.raises(ForeignModelError, match="stretched positions"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)
    uneven = {"blk.0.attn_k.weight": (np.ones((18, 32), dtype=np.float32), Kind.F32)}
    path = write_gguf(tmp_path / "d.gguf", tensors | uneven, metadata)
    with pytest.raises(ForeignModelError, match=r"18 rows of blk\.0\.attn_k\.weight are not 2 heads"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)
    biased = {"blk.0.attn_q.bias": (np.ones(32, dtype=np.float32), Kind.F32)}
    path = write_gguf(tmp_path / "c.gguf", tensors | biased, metadata)
    with pytest.raises(ForeignModelError, match=r"not known: model\.layers\.0\.self_attn\.q_proj\.bias"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)


@pytest.mark.parametrize("bytes_kept", [0, 3, 24, 2_000, -100])
def test_a_damaged_file_is_refused(bytes_kept: int, tmp_path: Path) -> None:
    path = written(tmp_path, pretrained("llama"))
    path.write_bytes(path.read_bytes()[:bytes_kept])
    with pytest.raises(ForeignModelError, match="cannot be read as GGUF"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "model.onnx").write_bytes(b"any")
    with pytest.raises(ForeignModelError, match=r"neither a folder nor a \.gguf file"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)


def test_without_the_package_a_file_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, pretrained("llama"))
    monkeypatch.setitem(sys.modules, "gguf", None)
    for name in ("model.convert.gguf", "model.convert.gguf_tokenizer"):
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ForeignModelError, match="pip install gguf"):
        attach(path, tmp_path / "out", "armt", 24, 3, 4)
