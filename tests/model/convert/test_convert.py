"""The papers' checkpoints, converted, do what the papers' equations do around transformers' own layers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from model import weights
from model.convert.__main__ import convert
from model.convert.tensors import ForeignModelError
from model.mechanisms.base import MemoryTransformer
from tests.model.convert.making import SHAPES, memory_tensors, pretrained, save_folder, wrapped
from tests.model.convert.papers_own import Armt, Rmt

pytestmark = pytest.mark.filterwarnings("ignore")

KEY_DIM, TOKENS, SEGMENT = 4, 3, 16
TEXT = torch.randint(399, (6 * SEGMENT,), generator=torch.Generator().manual_seed(3)).tolist()
PROMPT = [5, 6, 7, 8, 9]
# Transformers takes Llama's norms and angles in float32, whatever the weights' type.
TOLERANCE = {"gpt2": 1e-9, "llama": 1e-4}


def layers_of(shape: str) -> str:
    return "transformer.h" if SHAPES[shape][0] == "gpt2" else "model.layers"


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], form: str) -> Path:
    """The tensors as one file, in a folder that has a configuration and a tokeniser."""
    for old in folder.glob("*.safetensors"):
        old.unlink()
    whole = {name: tensor.float().contiguous().clone() for name, tensor in tensors.items()}
    if form == "safetensors":
        save_file(whole, folder / "model.safetensors")
    else:
        torch.save(whole, folder / "pytorch_model.bin")
    return folder


def read_all(model: MemoryTransformer, own: Any) -> Any:
    memory = model.initial_memory(1)
    for start in range(0, len(TEXT), SEGMENT):
        memory = model.read(torch.tensor([TEXT[start : start + SEGMENT]]), memory)
        own.read(TEXT[start : start + SEGMENT])
    return memory


@pytest.mark.parametrize("form", ["safetensors", "bin"])
@pytest.mark.parametrize("ported", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_converted_armt_follows_the_equations(shape: str, ported: bool, form: str, tmp_path: Path) -> None:
    backbone = pretrained(shape)
    memory = memory_tensors(32, 2, KEY_DIM, TOKENS)
    folder = save_folder(backbone, tmp_path / "in")
    tensors = wrapped(backbone.state_dict(), memory, layers_of(shape), ported)
    report = convert(write_checkpoint(folder, tensors, form), tmp_path / "out", segment_tokens=SEGMENT)
    assert any("found: armt with 3 memory tokens" in line for line in report)
    single = weights.load(tmp_path / "out").model
    assert single.config.normalize_phi is ported
    own = Armt(backbone, memory, normalize=ported)
    double = weights.load(tmp_path / "out").model.double()
    state = read_all(double, own)
    expected = own.logits(PROMPT)
    found = double.logits(double.window(torch.tensor([PROMPT]), state))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE[SHAPES[shape][0]])
    state = read_all(single, Armt(pretrained(shape), memory, normalize=ported))
    found = single.logits(single.window(torch.tensor([PROMPT]), state))[0].double()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_converted_rmt_follows_the_equations(shape: str, tmp_path: Path) -> None:
    backbone, memory = pretrained(shape), memory_tensors(32, 2, KEY_DIM, TOKENS)["memory"]
    tensors = {f"memory_cell.model.{name}": tensor for name, tensor in backbone.state_dict().items()}
    folder = write_checkpoint(save_folder(backbone, tmp_path / "in"), {"memory_cell.memory": memory, **tensors}, "bin")
    convert(folder, tmp_path / "out", segment_tokens=SEGMENT)
    model, own = weights.load(tmp_path / "out").model.double(), Rmt(backbone, memory)
    state = read_all(model, own)
    found = model.logits(model.window(torch.tensor([PROMPT]), state))[0]
    torch.testing.assert_close(found, own.logits(PROMPT), rtol=0, atol=TOLERANCE[SHAPES[shape][0]])


def test_keys_that_do_not_fit_are_all_named_and_nothing_is_written(tmp_path: Path) -> None:
    backbone = pretrained("gpt2")
    tensors = wrapped(backbone.state_dict(), memory_tensors(32, 2, KEY_DIM, TOKENS), "transformer.h", False)
    del tensors["memory_cell.model.transformer.h.1.layer.ln_2.bias"]
    tensors["memory_cell.model.transformer.h.0.layer.surprise"] = torch.zeros(2)
    folder = write_checkpoint(save_folder(backbone, tmp_path / "in"), tensors, "safetensors")
    with pytest.raises(ForeignModelError) as caught:
        convert(folder, tmp_path / "out", segment_tokens=SEGMENT)
    assert "missing: transformer.h.1.ln_2.bias" in str(caught.value)
    assert "not known: transformer.h.0.surprise" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_misshapen_memories_are_named(tmp_path: Path) -> None:
    backbone = pretrained("gpt2")
    memory = {**memory_tensors(32, 2, KEY_DIM, TOKENS), "1.W_mv.weight": torch.zeros(3, 32)}
    tensors = wrapped(backbone.state_dict(), memory, "transformer.h", False)
    folder = write_checkpoint(save_folder(backbone, tmp_path / "in"), tensors, "safetensors")
    with pytest.raises(ForeignModelError, match=r"memories.1.value.weight: \[3, 32\], expected \[32, 32\]"):
        convert(folder, tmp_path / "out", segment_tokens=SEGMENT)


def test_code_in_a_checkpoint_is_not_executed(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "sprung",))

    folder = save_folder(pretrained("gpt2"), tmp_path / "in")
    (folder / "model.safetensors").unlink()
    torch.save({"memory_cell.memory": Trap()}, folder / "pytorch_model.bin")
    with pytest.raises(ForeignModelError, match="cannot be read as tensors"):
        convert(folder, tmp_path / "out")
    assert not (tmp_path / "sprung").exists()


def test_a_gpt2_checkpoint_without_configuration_is_read_by_its_shapes(tmp_path: Path) -> None:
    import transformers

    torch.manual_seed(0)
    backbone = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=400, n_embd=128, n_layer=2, n_head=2, n_positions=96)
    )
    backbone.train(False)
    memory = memory_tensors(128, 2, KEY_DIM, TOKENS)
    folder = save_folder(backbone, tmp_path / "in")
    (folder / "config.json").unlink()
    write_checkpoint(folder, wrapped(backbone.state_dict(), memory, "transformer.h", False), "bin")
    report = convert(folder, tmp_path / "out", segment_tokens=SEGMENT)
    assert any("assumed: heads of 64" in line for line in report)
    model = weights.load(tmp_path / "out").model.double()
    own = Armt(backbone, memory, normalize=False)
    state = read_all(model, own)
    found = model.logits(model.window(torch.tensor([PROMPT]), state))[0]
    torch.testing.assert_close(found, own.logits(PROMPT), rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "holds none of"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be read as tensors"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "--tokenizer"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), "not a tokenizer.json: it has no model"),
        (lambda folder: (folder / "config.json").write_text("[]"), "is no configuration: it holds no names"),
        (
            lambda folder: (folder / "config.json").write_text(json.dumps({"model_type": "bert"})),
            "model_type 'bert' is not supported",
        ),
        (lambda folder: save_file({"wte.weight": torch.zeros(2, 2)}, folder / "model.safetensors"), "attach"),
    ],
)
def test_the_error_of_a_refused_checkpoint_names_the_cause(damage: Any, message: str, tmp_path: Path) -> None:
    backbone = pretrained("gpt2")
    tensors = wrapped(backbone.state_dict(), memory_tensors(32, 2, KEY_DIM, TOKENS), "transformer.h", False)
    folder = write_checkpoint(save_folder(backbone, tmp_path / "in"), tensors, "safetensors")
    damage(folder)
    with pytest.raises(ForeignModelError, match=message):
        convert(folder, tmp_path / "out", segment_tokens=SEGMENT)
