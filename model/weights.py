"""Weights, configuration and tokeniser in one folder, and the fingerprint over all three.

Nothing that is stored in the files is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.config import ModelConfig
from model.layers.fused_linear import join_fused, split_fused
from model.mechanisms import build
from model.mechanisms.base import MemoryTransformer
from model.mechanisms.episodic.terms import VERSION as TERMS_VERSION
from model.tokenizer import TextTokenizer

CONFIG, WEIGHTS, TOKENIZER = "config.json", "weights.safetensors", "tokenizer.json"
FILES = (CONFIG, WEIGHTS, TOKENIZER)


class WeightsError(ValueError):
    """The folder cannot be used as weights; the message says why and what to do."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to use, with its tokeniser and its name."""

    name: str
    fingerprint: str
    model: MemoryTransformer
    tokenizer: TextTokenizer


def default_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fingerprint(folder: Path, config: ModelConfig) -> str:
    """SHA-256 over what a memory depends on: the three files, each by name and content.

    An episodic memory depends on tokeniser, segments and terms alone: it survives an exchange of the reader.
    """
    whole = hashlib.sha256()
    if config.mechanism == "episodic":
        whole.update(json.dumps([config.mechanism, config.segment_tokens, config.vocab_size, TERMS_VERSION]).encode())
        whole.update((folder / TOKENIZER).read_bytes())
        return whole.hexdigest()
    for name in FILES:
        content = hashlib.sha256((folder / name).read_bytes()).digest()
        whole.update(name.encode() + b"\\0" + content)
    return whole.hexdigest()


def save(
    folder: Path,
    model: MemoryTransformer,
    tokenizer: TextTokenizer,
    dtype: torch.dtype,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Writes the three files, each whole or not at all, with the weights as `dtype`; `state` instead of the model's."""
    folder.mkdir(parents=True, exist_ok=True)
    state = split_fused(model, model.state_dict() if state is None else state)
    tensors = {name: tensor.detach().cpu().to(dtype).contiguous() for name, tensor in state.items()}
    save_file(tensors, folder / (WEIGHTS + ".new"))
    (folder / (CONFIG + ".new")).write_text(model.config.to_json(), encoding="utf-8")
    (folder / (TOKENIZER + ".new")).write_text(tokenizer.to_json(), encoding="utf-8")
    # safetensors makes a file that nobody else may read.
    (folder / (WEIGHTS + ".new")).chmod((folder / (CONFIG + ".new")).stat().st_mode)
    for name in FILES:
        os.replace(folder / (name + ".new"), folder / name)


def load(folder: Path, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """The model of a folder, on `device` (default: CUDA where there is one), its weights as `dtype`."""
    if not folder.is_dir():
        raise WeightsError(
            f"there is no folder {folder}: `make weights` writes model/smollm2, the default, and `make serve` does so "
            "before it serves; or name another folder of weights"
        )
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise WeightsError(f"{folder} is not a folder of weights: {', '.join(missing)} missing")
    try:
        config = ModelConfig.read(folder / CONFIG)
        tokenizer = TextTokenizer.read(folder / TOKENIZER)
        tensors = {_present_name(name): tensor for name, tensor in load_file(folder / WEIGHTS).items()}
    except Exception as error:
        raise WeightsError(f"{folder} holds a damaged or foreign file: {error}") from error
    model = build(config)
    expected = {name: tensor.shape for name, tensor in split_fused(model, model.state_dict()).items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if expected != found:
        wrong = sorted(name for name in expected | found if expected.get(name) != found.get(name))
        raise WeightsError(f"{folder / WEIGHTS} does not fit its {CONFIG}: {', '.join(wrong)}")
    model.load_state_dict(join_fused(model, tensors))
    model = model.to(device or default_device(), dtype).eval().requires_grad_(False)
    model.use_vocabulary(tokenizer.pieces)
    model.freeze()
    return LoadedModel(folder.resolve().name, fingerprint(folder, config), model, tokenizer)


def _present_name(name: str) -> str:
    """The name of a tensor that a file of version 0.1 calls otherwise."""
    return name.replace("glance.", "write_gate.", 1) if name.startswith("glance.") else name
