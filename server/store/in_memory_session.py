"""A session as the in-memory store keeps it: its text, its memories, and the parts that they share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from server.store import redaction, rules, text_hash
from server.store.base import (
    CHECKPOINTS_KEPT,
    REPEATS_KEPT,
    ContentConflict,
    OffsetMismatch,
    Range,
    SessionRecord,
    Snapshot,
    StoredCheckpoint,
    digest,
)
from server.store.manifest import KeptCheckpoint, pool_of
from server.store.parts import Pool, Root, StoredPart


@dataclass(frozen=True)
class Piece:
    offset: int
    value: bytes

    @property
    def end(self) -> int:
        return self.offset + len(self.value)


@dataclass(frozen=True)
class Repeat:
    """The digest of a piece, by which it is recognised once its bytes are trimmed."""

    offset: int
    end: int
    digest: bytes


@dataclass(frozen=True, eq=False)
class HeldPart:
    """A part, which all memories that share it refer to: it is gone when none does."""

    digest: bytes
    value: bytes
    pool: Pool

    @property
    def size(self) -> int:
        return len(self.value)

    def content(self) -> bytes:
        return self.value


@dataclass(frozen=True)
class Memory:
    """A stored memory and its parts in order."""

    kept: KeptCheckpoint
    head: bytes
    parts: tuple[HeldPart, ...]

    @property
    def checkpoint(self) -> StoredCheckpoint:
        parts = tuple(StoredPart(part.digest, part.size, part.pool) for part in self.parts)
        return StoredCheckpoint(self.kept.info, self.head, parts)


@dataclass
class Session:
    record: SessionRecord
    journal_offset: int
    journal: list[Piece] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    checkpoints: list[Memory] = field(default_factory=list)
    snapshots: dict[str, tuple[Snapshot, Memory]] = field(default_factory=dict)
    borrowed: dict[Pool, tuple[HeldPart, ...]] = field(default_factory=dict)

    @property
    def text(self) -> bytes:
        """The accepted text from the journal's start on."""
        return b"".join(piece.value for piece in self.journal)

    @property
    def memories(self) -> list[Memory]:
        return [*self.checkpoints, *(memory for _, memory in self.snapshots.values())]

    @property
    def parts(self) -> list[HeldPart]:
        """The parts of all memories, and those that the session has borrowed."""
        own = [part for memory in self.memories for part in memory.parts]
        return own + [part for lent in self.borrowed.values() for part in lent]

    def memory(self, checkpoint: StoredCheckpoint, source: "Session | None" = None) -> Memory:
        """The memory as it is stored here: parts that this session or the source has are shared."""
        known = {part.digest: part for session in (source, self) if session for part in session.parts}
        pool = pool_of(self.record)
        held = []
        for part in checkpoint.parts:
            if part.digest not in known:
                known[part.digest] = HeldPart(part.digest, part.content(), pool)
            held.append(known[part.digest])
        root = Root(checkpoint.value, tuple(StoredPart(part.digest, part.size, part.pool) for part in held))
        kept = KeptCheckpoint(checkpoint.info, "", len(root.encode()), len(held))
        return Memory(kept, checkpoint.value, tuple(held))

    def borrow(self, memory: Memory) -> None:
        """What a fork begins with stays, pool by pool, as long as one of its memories names a part of the pool."""
        for part in memory.parts:
            if part.pool != pool_of(self.record):
                self.borrowed[part.pool] = (*self.borrowed.get(part.pool, ()), part)

    def give_back(self) -> None:
        named = {part.pool for memory in self.memories for part in memory.parts}
        self.borrowed = {pool: parts for pool, parts in self.borrowed.items() if pool in named}

    def chain_at(self, offset: int) -> str | None:
        """The chain of the accepted text's first `offset` bytes; None where the journal is trimmed."""
        kept_bytes = offset - self.journal_offset
        return text_hash.shortened(self.record.chain, self.text[kept_bytes:]) if kept_bytes >= 0 else None

    def recognise(self, offset: int, known: bytes) -> None:
        """Returns when `known` equals the text accepted at `offset`, and raises otherwise."""
        end = offset + len(known)
        seen = set[int]()
        for piece in self.journal:
            for at in range(max(offset, piece.offset), min(end, piece.end)):
                if known[at - offset] != piece.value[at - piece.offset]:
                    raise ContentConflict(self.record.accepted_bytes)
                seen.add(at)
        for repeat in self.repeats:
            if offset <= repeat.offset < self.journal_offset and repeat.end <= end:
                if digest(known[repeat.offset - offset : repeat.end - offset]) != repeat.digest:
                    raise ContentConflict(self.record.accepted_bytes)
                seen.update(range(repeat.offset, repeat.end))
        if len(seen) < len(known):
            raise OffsetMismatch(self.record.accepted_bytes)

    def keep(self, value: bytes) -> None:
        piece = Piece(self.record.accepted_bytes, value)
        self.journal.append(piece)
        self.repeats.append(Repeat(piece.offset, piece.end, digest(value)))
        del self.repeats[:-REPEATS_KEPT]

    def trim(self) -> None:
        del self.checkpoints[:-CHECKPOINTS_KEPT]
        if len(self.checkpoints) == CHECKPOINTS_KEPT:
            oldest = rules.trimmed_to(self.record, self.journal_offset, self.checkpoints[0].kept.info.offset)
            self.journal = [piece for piece in self.journal if piece.end > oldest]
            self.journal_offset = min([oldest, *(piece.offset for piece in self.journal)])

    def blank(self, ranges: Sequence[Range]) -> Iterator[tuple[int, bytes]]:
        """Makes the bytes in these ranges newlines; gives those that were here, by offset."""
        for begin, end in ranges:
            first = max(begin, self.journal_offset)
            old = self.text[first - self.journal_offset : max(0, end - self.journal_offset)]
            if not old:
                continue
            yield first, old
            for number, piece in enumerate(self.journal):
                low, high = max(first, piece.offset), min(end, piece.end)
                if low < high:
                    before, after = piece.value[: low - piece.offset], piece.value[high - piece.offset :]
                    self.journal[number] = Piece(piece.offset, before + redaction.BLANK * (high - low) + after)
        self.repeats = [
            repeat
            for repeat in self.repeats
            if all(repeat.end <= begin or end <= repeat.offset for begin, end in ranges)
        ]

    def cut(self, offset: int) -> None:
        """Deletes the text after `offset`, as if it had never been appended."""
        begin = max([self.journal_offset, *(piece.offset for piece in self.journal if piece.offset <= offset)])
        left = self.text[begin - self.journal_offset : offset - self.journal_offset]
        self.journal = [piece for piece in self.journal if piece.offset < begin]
        self.repeats = [repeat for repeat in self.repeats if repeat.offset < begin]
        if left:
            self.journal.append(Piece(begin, left))
            self.repeats.append(Repeat(begin, offset, digest(left)))
