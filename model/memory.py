"""A memory as a value: named tensors, each with the batch as its first dimension; and padded batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol, TypeVar

import torch
from torch import Tensor

# Batches have one of these sizes. A shape that recurs gives the same bits, whatever else is in the batch.
BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

# A larger number in a file from outside is damage. The largest after 2,033 segments of dense stories was 51 (the bAbI
# weights), after 3,000 segments of random tokens 1.1e6 (ARMT with random weights). Its square, summed over a layer, is
# far below what float32 can hold.
FLOAT_MAX = 1e12

Row = TypeVar("Row")


class UnsoundMemory(ValueError):
    """Tensors that are no sound memory of this model; the message says what is wrong."""


# A part of a memory is stored as one value of at most so many bytes.
PART_BYTES_MAX = 256 * 1024


class HeldBytes(Protocol):
    """Something that takes so many bytes of RAM."""

    @property
    def nbytes(self) -> int: ...


class PartBytes(Protocol):
    """An immutable part of a memory as it is stored: the SHA-256 of its content, and its size in bytes."""

    @property
    def digest(self) -> bytes: ...

    @property
    def size(self) -> int: ...

    def content(self) -> bytes: ...


@dataclass(frozen=True, eq=False)
class MemoryPart:
    """A part whose content is made anew from the memory's tensors, where it is asked for."""

    digest: bytes
    size: int
    content: Callable[[], bytes]

    @staticmethod
    def of(content: bytes) -> MemoryPart:
        return MemoryPart(sha256(content).digest(), len(content), lambda: content)


@dataclass(frozen=True, eq=False)
class MemoryState:
    """What a model keeps of the segments that it has read; every tensor is (B, ...).

    A mechanism whose rows differ in size has a class of its own (`mechanisms/episodic/memory.py`).
    """

    tensors: Mapping[str, Tensor]
    # Of an initial memory: the least and the largest value that a stored tensor may have. Others: up to `FLOAT_MAX`.
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)

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

    @property
    def head(self) -> Mapping[str, Tensor]:
        """The tensors that are stored with every checkpoint: all that are not in `parts`."""
        return self.tensors

    @property
    def blocks(self) -> Sequence[HeldBytes]:
        """What this state holds in RAM, piece by piece; other states may hold the same pieces."""
        return (self,)

    @property
    def parts(self) -> tuple[PartBytes, ...]:
        """What never changes of this state, of batch 1, and is stored once."""
        return ()

    def restored_from_parts(self, head: Mapping[str, Tensor], parts: Sequence[PartBytes]) -> MemoryState:
        """The state with this head and these parts, which this server stored; `UnsoundMemory`.

        Its floats are what the model made of a text, however large: they need not be within `FLOAT_MAX`.
        """
        if parts:
            raise UnsoundMemory("a memory of this model has no parts")
        return self._checked(head, floats=False)

    def restored(self, tensors: Mapping[str, Tensor]) -> MemoryState:
        """The state in the tensors of a file; this one, of batch 1, is the initial memory of the same model.

        Raises `UnsoundMemory` where names, shapes, types or values are not those of a memory of this model.
        """
        return self._checked(tensors, floats=True)

    def _checked(self, tensors: Mapping[str, Tensor], floats: bool) -> MemoryState:
        """The state in these tensors; with `floats`, numbers are within bounds too, and not only ids."""
        for name, wanted in self.tensors.items():
            found = tensors.get(name)
            if found is None or found.shape != wanted.shape or found.dtype != wanted.dtype:
                raise UnsoundMemory(f"memory tensor {name} is missing or misshapen")
            if found.is_floating_point() and not bool(torch.isfinite(found).all()):
                raise UnsoundMemory(f"memory tensor {name} is not finite")
            if floats or not found.is_floating_point():
                _must_lie_between(found, *self.bounds.get(name, (-FLOAT_MAX, FLOAT_MAX)), name)
        return MemoryState({name: tensors[name] for name in self.tensors})

    def must_cover(self, segments: int, size: int) -> None:
        """Raises `UnsoundMemory` where this state cannot be that of so many segments of a text of `size` bytes."""

    @staticmethod
    def where(rows: Tensor, these: MemoryState, those: MemoryState) -> MemoryState:
        """The rows (B) that are chosen of one state, and the others of another."""
        return these.merged(rows, those)

    @staticmethod
    def stack(states: Sequence[MemoryState]) -> MemoryState:
        """One state whose rows are those of `states`, in order."""
        return states[0] if len(states) == 1 else states[0].stacked(states)

    def stacked(self, states: Sequence[MemoryState]) -> MemoryState:
        """`stack` of several states of this class."""
        return MemoryState({name: torch.cat([state[name] for state in states]) for name in self.tensors})

    def merged(self, rows: Tensor, others: MemoryState) -> MemoryState:
        """`where` with this state's rows as the chosen ones."""
        return MemoryState(
            {
                name: torch.where(rows.view(-1, *[1] * (own.dim() - 1)), own, others[name])
                for name, own in self.tensors.items()
            }
        )

    def equals(self, other: MemoryState) -> bool:
        """Bit for bit: same names, same types, same values."""
        return self.tensors.keys() == other.tensors.keys() and all(
            tensor.dtype == other[name].dtype and torch.equal(tensor, other[name])
            for name, tensor in self.tensors.items()
        )


def _must_lie_between(tensor: Tensor, least: float, most: float, name: str) -> None:
    # A stored bool may be any byte.
    values = tensor.view(torch.uint8) if tensor.dtype == torch.bool else tensor
    if values.numel() and not (least <= values.min().item() and values.max().item() <= most):
        raise UnsoundMemory(f"memory tensor {name} has values that are not between {least:g} and {most:g}")


def padded(rows: Sequence[Row]) -> list[Row]:
    """The rows, and copies of the first up to the next of the `BATCH_SIZES`."""
    size = next(size for size in BATCH_SIZES if size >= len(rows))
    return [*rows, *[rows[0]] * (size - len(rows))]
