"""`python -m model.convert IN OUT`: converts a published ARMT or RMT checkpoint to a folder of weights."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from torch import Tensor

from model.config import ModelConfig
from model.convert.assemble import Report, assemble, must_have_room, read_tokenizer, special_tokens
from model.convert.huggingface import Settings, backbone_tensors, read_settings, settings_of
from model.convert.papers import Wrapped, unwrap
from model.convert.tensors import ForeignModelError, Inventory, read_tensors

_GPT2_HEAD_DIM = 64


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.convert", description=__doc__)
    parser.add_argument("source", type=Path, metavar="IN", help="checkpoint: a file (.safetensors, .bin) or its folder")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write")
    parser.add_argument("--config", type=Path, help="folder with the backbone's config.json, when IN has none")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json or its folder, when IN has none")
    parser.add_argument("--segment", type=int, default=512, help="tokens of a segment, as trained")
    parser.add_argument("--normalize-phi", action=argparse.BooleanOptionalAction, help="whether φ has unit length")
    parser.add_argument("--answer-mark", default="GEN", help="what training put between question and answer")
    arguments = parser.parse_args()
    try:
        report = convert(
            arguments.source,
            arguments.out,
            arguments.config,
            arguments.tokenizer,
            arguments.segment,
            arguments.normalize_phi,
            arguments.answer_mark,
        )
    except (ForeignModelError, ValueError) as error:
        sys.exit(f"{error}")
    print("\n".join(report))


def convert(
    source: Path,
    out: Path,
    config_folder: Path | None = None,
    tokenizer_place: Path | None = None,
    segment_tokens: int = 512,
    normalize_phi: bool | None = None,
    answer_mark: str = "GEN",
) -> Report:
    """Writes OUT and returns what was found and what was assumed."""
    report: Report = []
    folder = source if source.is_dir() else source.parent
    wrapped = unwrap(read_tensors(source))
    if wrapped is None:
        raise ForeignModelError(
            f"{source} holds no memory tokens, as ARMT and RMT have them; "
            "python -m model.attach gives a plain model a memory"
        )
    settings = _settings(config_folder or folder, wrapped, report)
    found = Inventory(wrapped.backbone)
    backbone = backbone_tensors(settings, found)
    found.finish()
    tokenizer = read_tokenizer(tokenizer_place or folder)
    if normalize_phi is None and wrapped.mechanism == "armt":
        normalize_phi = wrapped.ported
        report.append(
            f"assumed: φ {'has' if normalize_phi else 'does not have'} unit length, as in the code of "
            f"{'2026' if wrapped.ported else '2024 before 28 August'}; override with --[no-]normalize-phi"
        )
    config = ModelConfig(
        **settings,
        special=special_tokens(tokenizer, None, answer_mark, report),
        segment_tokens=segment_tokens,
        mechanism=wrapped.mechanism,
        memory_tokens=len(wrapped.memory["memory_tokens"]),
        memory_key_dim=_key_dim(wrapped),
        normalize_phi=bool(normalize_phi),
    )
    report.insert(0, f"found: {config.mechanism} with {config.memory_tokens} memory tokens on {_shape(config)}")
    must_have_room(config, report)
    assemble(out, config, backbone, wrapped.memory, tokenizer, report)
    return report


def _settings(folder: Path, wrapped: Wrapped, report: Report) -> Settings:
    """From config.json; a GPT-2 checkpoint's own shapes tell all but the heads."""
    if (folder / "config.json").is_file():
        return read_settings(folder)
    tokens, positions = (wrapped.backbone.get(f"transformer.{name}.weight") for name in ("wte", "wpe"))
    if tokens is None or positions is None:
        raise ForeignModelError(f"{folder} has no config.json, and this is no GPT-2 checkpoint; give one with --config")
    report.append(f"assumed: heads of {_GPT2_HEAD_DIM}, GPT-2's norms and activation; there is no config.json")
    return _gpt2_of(tokens, positions, wrapped.backbone)


def _gpt2_of(tokens: Tensor, positions: Tensor, backbone: dict[str, Tensor]) -> Settings:
    layers = {name.split(".")[2] for name in backbone if name.startswith("transformer.h.")}
    width = tokens.shape[1]
    return settings_of(
        {
            "model_type": "gpt2",
            "vocab_size": tokens.shape[0],
            "n_embd": width,
            "n_layer": len(layers),
            "n_head": width // _GPT2_HEAD_DIM,
            "n_positions": positions.shape[0],
        }
    )


def _key_dim(wrapped: Wrapped) -> int:
    keys = wrapped.memory.get("memories.0.key.weight")
    return ModelConfig.memory_key_dim if keys is None else len(keys)


def _shape(config: ModelConfig) -> str:
    return f"{config.n_layers} layers of width {config.d_model} ({'GPT-2' if config.bias else 'Llama'})"


if __name__ == "__main__":
    main()
