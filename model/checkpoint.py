"""A memory, its tail and its offset as one safetensors file, and back, checked before a byte is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from model import documents
from model.documents import Document, UnsoundDocuments
from model.memory import MemoryState, PartBytes, UnsoundMemory

FORMAT = "onceread.checkpoint.1"
HEAD_FORMAT = "onceread.head.1"
# So many digits a 63-bit count has at most, which every store can keep.
COUNT_DIGITS = 18
_MEMORY = "memory."


class CheckpointError(ValueError):
    """The bytes are no sound checkpoint; the message says what is wrong."""


class ForeignCheckpoint(CheckpointError):
    """The checkpoint belongs to other weights."""

    def __init__(self, found: str, wanted: str) -> None:
        super().__init__(f"the memory belongs to weights {found[:12]}, this model has {wanted[:12]}")
        self.found, self.wanted = found, wanted


@dataclass(frozen=True)
class Checkpoint:
    """What a session is, but for its name: `offset` bytes of text as memory, tail tokens and pending bytes.

    `tokens` counts the final tokens of the text, those of the tail included; `segments` those in the memory, of which
    the last one of a document may be filled up with tokens that are no text. `documents` are in the text's order.
    """

    memory: MemoryState
    tail: tuple[int, ...]
    pending: bytes
    offset: int
    tokens: int
    segments: int
    documents: tuple[Document, ...] = ()

    @classmethod
    def empty(cls, memory: MemoryState) -> Checkpoint:
        """A session that has read nothing; `memory` is the model's initial one."""
        return cls(memory, (), b"", 0, 0, 0)

    def advance(self, ids: Sequence[int], pending: bytes, text_bytes: int, segment_tokens: int) -> Advance:
        """What the next `text_bytes` of text make of this session: `ids` are its final tokens, `pending` what is left.

        Whole segments are to be read into the memory; the rest becomes the tail.
        """
        unread = [*self.tail, *ids]
        whole = len(unread) - len(unread) % segment_tokens
        segments = [unread[begin : begin + segment_tokens] for begin in range(0, whole, segment_tokens)]
        after = Checkpoint(
            self.memory,
            tuple(unread[whole:]),
            pending,
            self.offset + text_bytes,
            self.tokens + len(ids),
            self.segments + len(segments),
            documents.grown(self.documents, text_bytes, len(ids)),
        )
        return Advance(segments, after)

    def without(self, name: str, memory: MemoryState) -> Checkpoint:
        """The session without the document of this name, of which the `memory` has nothing any more.

        The tail belongs to the last document.
        """
        kept = replace(self, memory=memory, documents=documents.without(self.documents, name))
        if self.documents[-1].name != name:
            return kept
        *before, last = kept.documents
        last = last._replace(tokens=last.tokens - len(self.tail))
        return replace(kept, tail=(), pending=b"", tokens=self.tokens - len(self.tail), documents=(*before, last))

    def begin(self, name: str, ids: Sequence[int], segment_tokens: int, fill: int | None) -> Advance:
        """The session where a document of this name begins, or goes on.

        `ids` are the tokens of the pending bytes. With a token `fill` the text before is closed into whole segments:
        at least one such token stands at its end, so that the memory itself shows where a document ends.
        """
        if fill is None or not self.offset:
            before = Advance([], self)
        else:
            filled = segment_tokens - (len(self.tail) + len(ids)) % segment_tokens
            before = self.advance([*ids, *[fill] * filled], b"", 0, segment_tokens)
            tokens = self.tokens + len(ids)
            closed = replace(before.after, tokens=tokens, documents=documents.grown(self.documents, 0, len(ids)))
            before = Advance(before.segments, closed)
        begun = Document(name, self.offset)
        return before._replace(after=replace(before.after, documents=(*before.after.documents, begun)))


class Advance(NamedTuple):
    """Segments to be read into a session's memory, and the session once they have been."""

    segments: list[list[int]]
    after: Checkpoint

    def finish(self, memory: MemoryState) -> Checkpoint:
        """The session with the memory that reading the segments made."""
        return replace(self.after, memory=memory)


class EncodedCheckpoint(NamedTuple):
    """A checkpoint as it is stored: its head as a safetensors file, and the parts of its memory, which never change."""

    head: bytes
    parts: tuple[PartBytes, ...] = ()


def encode(checkpoint: Checkpoint, fingerprint: str) -> EncodedCheckpoint:
    """The checkpoint, whose memory is in host RAM, to be stored."""
    head = _file(checkpoint, checkpoint.memory.head, fingerprint, HEAD_FORMAT)
    return EncodedCheckpoint(head, checkpoint.memory.parts)


def decode(stored: EncodedCheckpoint, fingerprint: str, like: MemoryState) -> Checkpoint:
    """The checkpoint that was stored, in host RAM; `like` is the model's initial memory (batch 1).

    Raises `ForeignCheckpoint` for other weights and `CheckpointError` for anything unsound.
    """
    # Versions that did not store parts stored a file.
    metadata, tensors = _checked(stored.head, fingerprint, (HEAD_FORMAT, FORMAT))
    return _checkpoint(metadata, tensors, lambda own: like.restored_from_parts(own, stored.parts))


def export(checkpoint: Checkpoint, fingerprint: str) -> bytes:
    """The whole checkpoint, whose memory is in host RAM, as one safetensors file that names its weights."""
    return _file(checkpoint, checkpoint.memory.tensors, fingerprint, FORMAT)


def load(file: bytes, fingerprint: str, like: MemoryState) -> Checkpoint:
    """The checkpoint in an exported file; as `decode`."""
    metadata, tensors = _checked(file, fingerprint, (FORMAT,))
    return _checkpoint(metadata, tensors, like.restored)


def _file(checkpoint: Checkpoint, memory: Mapping[str, Tensor], fingerprint: str, format: str) -> bytes:
    tensors = {_MEMORY + name: t.contiguous() for name, t in memory.items()}
    tensors["tail"] = torch.tensor(checkpoint.tail, dtype=torch.int64)
    tensors["pending"] = torch.tensor(list(checkpoint.pending), dtype=torch.uint8)
    metadata = {
        "format": format,
        "fingerprint": fingerprint,
        "offset": str(checkpoint.offset),
        "tokens": str(checkpoint.tokens),
        "segments": str(checkpoint.segments),
        "documents": documents.encode(checkpoint.documents),
    }
    return save_tensors(tensors, {**metadata, "checksum": checksum(metadata, tensors)})


def _checked(value: bytes, fingerprint: str, formats: Sequence[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a file that is whole, of one of these formats, and of these weights."""
    metadata = _metadata(value)
    if metadata.get("format") not in formats:
        raise CheckpointError(f"not a checkpoint of format {formats[0]}")
    try:
        tensors = load_tensors(value)
    except Exception as error:
        raise CheckpointError(f"not a safetensors file: {error}") from error
    if metadata.pop("checksum", "") != checksum(metadata, tensors):
        raise CheckpointError("the checksum does not match")
    if (found := metadata.get("fingerprint", "")) != fingerprint:
        raise ForeignCheckpoint(found, fingerprint)
    return metadata, tensors


def _checkpoint(
    metadata: Mapping[str, str],
    tensors: Mapping[str, Tensor],
    restored: Callable[[Mapping[str, Tensor]], MemoryState],
) -> Checkpoint:
    try:
        own = {name.removeprefix(_MEMORY): t for name, t in tensors.items() if name.startswith(_MEMORY)}
        memory = restored(own)
        memory.must_cover(_count(metadata, "segments"), _count(metadata, "offset"))
        known = documents_in(metadata)
    except (UnsoundMemory, UnsoundDocuments) as error:
        raise CheckpointError(f"{error}") from error
    return Checkpoint(
        memory,
        tuple(_row(tensors, "tail", torch.int64)),
        bytes(_row(tensors, "pending", torch.uint8)),
        _count(metadata, "offset"),
        _count(metadata, "tokens"),
        _count(metadata, "segments"),
        known,
    )


def documents_of(value: bytes) -> tuple[Document, ...]:
    """The documents that a stored state lists; only its head is read."""
    return documents_in(_metadata(value))


def documents_in(metadata: Mapping[str, str]) -> tuple[Document, ...]:
    """The documents in a head's metadata; the first versions had none."""
    offset, tokens = _count(metadata, "offset"), _count(metadata, "tokens")
    return documents.decode(metadata.get("documents", "[]"), offset, tokens)


def _row(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype) -> list[int]:
    found = tensors.get(name)
    if found is None or found.dtype != dtype or found.dim() != 1:
        raise CheckpointError(f"tensor {name} is missing or misshapen")
    return found.tolist()


def _count(metadata: Mapping[str, str], name: str) -> int:
    found = metadata.get(name, "")
    if not (found.isascii() and found.isdigit() and len(found) <= COUNT_DIGITS):
        raise CheckpointError(f"{name} is no count")
    return int(found)


def _metadata(value: bytes) -> dict[str, str]:
    """The header's metadata, read without trusting its lengths."""
    try:
        length = int.from_bytes(value[:8], "little")
        if length > len(value) - 8:
            raise CheckpointError("the file is cut off")
        metadata = json.loads(value[8 : 8 + length])["__metadata__"]
        return {str(name): str(text) for name, text in metadata.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"no readable header: {error}") from error


def checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the metadata and every tensor's name, type, shape and bytes, in the order of names."""
    whole = hashlib.sha256(json.dumps(dict(sorted(metadata.items()))).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        whole.update(f"{name} {tensor.dtype} {list(tensor.shape)} ".encode())
        whole.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()
