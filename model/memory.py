"""A memory as a value: named tensors of fixed size, each with the batch as its first dimension; and padded batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

# Batches have one of these sizes. A shape that recurs gives the same bits, whatever else is in the batch.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

Row = TypeVar("Row")


@dataclass(frozen=True, eq=False)
class MemoryState:
    """What a model keeps of the segments that it has read; every tensor is (B, ...)."""

    tensors: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    @property
    def batch(self) -> int:
        return next(iter(self.tensors.values())).shape[0]

    @property
    def device(self) -> torch.device:
        return next(iter(self.tensors.values())).device

    @property
    def nbytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for tensor in self.tensors.values())

    def to(self, device: torch.device | str) -> MemoryState:
        return MemoryState({name: tensor.to(device) for name, tensor in self.tensors.items()})

    def unstack(self) -> list[MemoryState]:
        """The rows, each a state of batch 1 that owns its storage."""
        return [self.row(row) for row in range(self.batch)]

    def row(self, row: int) -> MemoryState:
        """One row as a state of batch 1 that owns its storage."""
        return MemoryState({name: tensor[row : row + 1].clone() for name, tensor in self.tensors.items()})

    def put(self, row: int, state: MemoryState) -> None:
        """Overwrites a row with a state of batch 1, in place: for a stack that nobody else has."""
        for name, tensor in self.tensors.items():
            tensor[row : row + 1] = state[name]

    @staticmethod
    def where(rows: Tensor, these: MemoryState, those: MemoryState) -> MemoryState:
        """The rows (B) that are chosen of one state, and the others of another."""
        return MemoryState(
            {
                name: torch.where(rows.view(-1, *[1] * (one.dim() - 1)), one, those[name])
                for name, one in these.tensors.items()
            }
        )

    @staticmethod
    def stack(states: Sequence[MemoryState]) -> MemoryState:
        """One state whose rows are those of `states`, in order."""
        if len(states) == 1:
            return states[0]
        return MemoryState({name: torch.cat([state[name] for state in states]) for name in states[0].tensors})

    def equals(self, other: MemoryState) -> bool:
        """Bit for bit: same names, same types, same values."""
        return self.tensors.keys() == other.tensors.keys() and all(
            tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
            for name, tensor in self.tensors.items()
        )


def padded(rows: Sequence[Row]) -> list[Row]:
    """The rows, and copies of the first up to the next of the `BATCH_SIZES`."""
    size = next(size for size in BATCH_SIZES if size >= len(rows))
    return [*rows, *[rows[0]] * (size - len(rows))]
