"""The tensors of a foreign checkpoint, by name, with account of which of them were used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
FILES = ("model.safetensors", "pytorch_model.bin", "model.bin")


class ForeignModelError(ValueError):
    """The folder or file cannot be read as the model that it should be; the message says why."""


def read_tensors(place: Path) -> dict[str, Tensor]:
    """Everything in a checkpoint file, or in a folder's checkpoint, whole or in parts.

    `.bin` and `.pt` are pickles: of them only tensors are unpickled, anything else is refused.
    """
    tensors: dict[str, Tensor] = {}
    for path in _files(place):
        try:
            part = (
                load_file(path)
                if path.suffix == ".safetensors"
                else torch.load(path, map_location="cpu", weights_only=True)
            )
        except Exception as error:
            raise ForeignModelError(f"{path} cannot be read as tensors: {error}") from error
        part = part.get("model_state_dict", part) if isinstance(part, Mapping) else part
        if not isinstance(part, Mapping) or not all(isinstance(tensor, Tensor) for tensor in part.values()):
            raise ForeignModelError(f"{path} does not hold tensors by name")
        tensors.update(part)
    return tensors


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
        return
    for name in INDEXES:
        if (place / name).is_file():
            parts = json.loads((place / name).read_text(encoding="utf-8"))["weight_map"].values()
            # A part is a file of this folder: an index cannot point anywhere else.
            yield from (place / Path(part).name for part in sorted(set(parts)))
            return
    for name in FILES:
        if (place / name).is_file():
            yield place / name
            return
    raise ForeignModelError(f"{place} holds none of {', '.join((*INDEXES, *FILES))}")


class Inventory:
    """Tensors that are taken one by one; `finish` reports what was missing and what was left."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._left = dict(tensors)
        self._missing: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str) -> Tensor:
        """The tensor of a name, or an empty one, remembered as missing."""
        if name not in self._left:
            self._missing.append(name)
            return torch.empty(0)
        return self._left.pop(name)

    def drop(self, name: str) -> None:
        """Ignores a tensor that adds no information."""
        self._left.pop(name, None)

    def finish(self) -> None:
        """ForeignModelError, unless every tensor that was asked for was there and none is left."""
        if self._missing or self._left:
            wrong = [f"missing: {name}" for name in self._missing] + [f"not known: {name}" for name in self._left]
            raise ForeignModelError("the checkpoint's tensors do not fit the model:\n  " + "\n  ".join(wrong))


def fit(tensors: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Raises unless tensors have exactly these names and shapes."""
    wrong = [
        f"{name}: {list(tensors[name].shape) if name in tensors else 'missing'}, expected {list(shape)}"
        for name, shape in shapes.items()
        if name not in tensors or tensors[name].shape != shape
    ]
    if wrong:
        raise ForeignModelError("misshapen tensors:\n  " + "\n  ".join(wrong))
