"""The journal in Redis: encrypted pieces by their offsets, and an index of them that outlives the pieces.

Each line of the index has the hash of the text before the piece and a digest of the piece, so that bytes that are sent
again are recognised after their piece was trimmed.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from weakref import WeakValueDictionary

from server.store import rules
from server.store.base import (
    PIECE_BYTES_MAX,
    REPEATS_KEPT,
    Appended,
    ContentConflict,
    DamagedValue,
    OffsetMismatch,
    Range,
    SessionKey,
)
from server.store.encryption import Sealer
from server.store.manifest import Manifest
from server.store.redaction import BLANK
from server.store.redis.cas import Found, Records
from server.store.redis.client import Link
from server.store.redis.index import Indexes
from server.store.redis.names import Names, names
from server.store.redis.parts import UNKEPT_SECONDS
from server.store.text_hash import extended


class PieceEntry(NamedTuple):
    """A piece's line in the index: its offset and length, the hash of the text before it, the digest of its bytes."""

    offset: int
    length: int
    chain: str
    digest: str

    @property
    def end(self) -> int:
        return self.offset + self.length


class Ending(NamedTuple):
    """The offset from which text is removed, and the shortened piece with its line that takes its place, if any."""

    begin: int
    piece: bytes = b""
    line: str = ""


class Redacted(NamedTuple):
    """How many pieces a redacted text has, and the bytes that are not in it any more, by offset."""

    pieces: int = 0
    deleted: Sequence[tuple[int, bytes]] = ()


class Journal:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    def sealed(self, entry: Manifest, value: bytes) -> tuple[bytes, str]:
        """A piece at the end of the text, encrypted, and its line in the index."""
        record = entry.record
        end = record.accepted_bytes
        return self._sealed(record.key, entry.lineage_at(end), end, record.chain, value)

    def _sealed(self, key: SessionKey, lineage: str, offset: int, chain: str, value: bytes) -> tuple[bytes, str]:
        place = (lineage, offset, len(value), chain)
        line = PieceEntry(*place[1:], self._sealer.digest("piece", key, place, value))
        seal = self._sealer.digest("line", key, (lineage, *line), b"")
        return self._sealer.seal("piece", key, place, value), ":".join((*map(str, line), seal))

    async def read(self, entry: Manifest, offset: int, end: int) -> bytes:
        """The journal's bytes from `offset` up to `end`."""
        found, reached = bytearray(), offset
        lines = await self._lines_over(entry, offset, end)
        at, key = names(entry.record.key), entry.record.key
        values = await self._values(entry, lines) if lines else []
        for line, sealed in zip(lines, values, strict=True):
            if not line.offset <= reached < line.end:
                break
            place = (entry.lineage_at(line.offset), line.offset, line.length, line.chain)
            piece = self._sealer.open("piece", key, place, sealed)
            found += piece[reached - line.offset : end - line.offset]
            reached = line.end
        if reached < end:
            raise DamagedValue(f"the journal of session {key.id!r} at offset {reached} ({at.journal})")
        return bytes(found)

    async def chain_at(self, entry: Manifest, offset: int) -> str:
        """The hash of the accepted text's first `offset` bytes; the journal must have the last of them."""
        record = entry.record
        if offset in (record.read_bytes, record.accepted_bytes):
            return record.info.chain if offset == record.read_bytes else record.chain
        line = await self._line_at(entry, offset)
        return extended(line.chain, await self.read(entry, line.offset, offset))

    async def known_chain(self, entry: Manifest, offset: int) -> str | None:
        """The same, or None if the journal does not have the text, or is damaged."""
        if not entry.journal_offset <= offset <= entry.record.accepted_bytes:
            return None
        try:
            return await self.chain_at(entry, offset)
        except DamagedValue:
            return None

    async def ending(self, entry: Manifest, offset: int, lineage: str) -> Ending:
        """How the kept text is cut to end at `offset`; `DamagedValue` if its pieces cannot be read."""
        if offset == entry.journal_offset:
            return Ending(offset)
        line = await self._line_at(entry, offset - 1)
        if line.end == offset:
            return Ending(offset)
        left = await self.read(entry, line.offset, offset)
        return Ending(line.offset, *self._sealed(entry.record.key, lineage, line.offset, line.chain, left))

    async def redact(self, entry: Manifest, ranges: Sequence[Range], lineage: str, to: Names) -> Redacted:
        """Uploads the kept text with newlines in these ranges under the names `to`, where it expires; `DamagedValue`.

        The pieces are cut anew, and all of them get this lineage.
        """
        record, found, number = entry.record, list[tuple[int, bytes]](), 0
        chain = await self.chain_at(entry, entry.journal_offset)
        for begin in range(entry.journal_offset, record.accepted_bytes, PIECE_BYTES_MAX):
            end = min(begin + PIECE_BYTES_MAX, record.accepted_bytes)
            old = await self.read(entry, begin, end)
            new = bytearray(old)
            for range_ in ranges:
                low, high = max(range_.begin, begin) - begin, min(range_.end, end) - begin
                if low < high:
                    found.append((begin + low, old[low:high]))
                    new[low:high] = BLANK * (high - low)
            redacted = bytes(new)
            sealed, line = self._sealed(record.key, lineage, begin, chain, redacted)
            await self._link.ask(
                to.record,
                ("HSET", to.journal, begin, sealed),
                ("EXPIRE", to.journal, UNKEPT_SECONDS),
                ("ZADD", to.pieces, begin, line),
                ("EXPIRE", to.pieces, UNKEPT_SECONDS),
            )
            chain, number = extended(chain, redacted), number + 1
        return Redacted(number, found)

    async def recognise(self, entry: Manifest, offset: int, known: bytes) -> None:
        """Returns if `known` equals the accepted text at `offset`, which it does not exceed; else `ContentConflict`."""
        record = entry.record
        end = offset + len(known)
        kept_from = min(max(offset, entry.journal_offset), end)
        if kept_from < end and await self.read(entry, kept_from, end) != known[kept_from - offset :]:
            raise ContentConflict(record.accepted_bytes)
        recognised_bytes = 0
        for line in await self._lines_from(entry, offset, kept_from) if offset < kept_from else []:
            if not offset <= line.offset < kept_from:
                raise DamagedValue(f"the index of session {record.key.id!r} at offset {line.offset}")
            if line.end > end:
                continue
            place = (entry.lineage_at(line.offset), line.offset, line.length, line.chain)
            mine = self._sealer.digest("piece", record.key, place, known[line.offset - offset : line.end - offset])
            if mine != line.digest:
                raise ContentConflict(record.accepted_bytes)
            recognised_bytes += line.length
        if recognised_bytes < kept_from - offset:
            raise OffsetMismatch(record.accepted_bytes)

    async def begin(self, entry: Manifest, offset: int) -> int:
        """Where the journal starts after all pieces that end at `offset` or before are trimmed."""
        if offset >= entry.record.accepted_bytes:
            return offset
        return (await self._line_at(entry, offset)).offset

    async def gapless_from(self, entry: Manifest) -> int:
        """The lowest offset from which no piece is missing up to the end; the pieces' bytes are not read."""
        at = names(entry.record.key)
        pieces, lines = await self._link.ask(
            at.record, ("HLEN", at.journal), ("ZCOUNT", at.pieces, entry.journal_offset, "+inf")
        )
        if pieces == lines:
            return entry.journal_offset
        reached = entry.record.accepted_bytes
        kept = await self._lines_from(entry, entry.journal_offset, reached)
        [there] = await self._link.ask(at.record, ("HKEYS", at.journal))
        present = {int(offset) for offset in there if bytes(offset).isdigit()}
        for line in reversed(kept):
            if line.end != reached or line.offset not in present:
                break
            reached = line.offset
        return max(reached, entry.journal_offset)

    async def _line_at(self, entry: Manifest, offset: int) -> PieceEntry:
        """The line of the piece that holds the byte at `offset`."""
        for line in await self._lines_over(entry, offset, offset + 1):
            if line.offset <= offset < line.end:
                return line
        raise DamagedValue(f"the index of session {entry.record.key.id!r} at offset {offset}")

    async def _values(self, entry: Manifest, lines: list[PieceEntry]) -> list[bytes | None]:
        at = names(entry.record.key)
        [values] = await self._link.ask(at.record, ("HMGET", at.journal, *(line.offset for line in lines)))
        return list(values)

    async def _lines_over(self, entry: Manifest, offset: int, end: int) -> list[PieceEntry]:
        """The lines of the pieces that cover `offset` to `end`."""
        at = names(entry.record.key)
        if offset >= end:
            return []
        first, others = await self._link.ask(
            at.record,
            ("ZREVRANGEBYSCORE", at.pieces, offset, "-inf", "LIMIT", 0, 1),
            ("ZRANGEBYSCORE", at.pieces, f"({offset}", f"({end}"),
        )
        return [self._opened(entry, line) for line in (*first, *others)]

    async def _lines_from(self, entry: Manifest, offset: int, end: int) -> list[PieceEntry]:
        """The lines of the pieces that start from `offset` up to `end`."""
        at = names(entry.record.key)
        [lines] = await self._link.ask(at.record, ("ZRANGEBYSCORE", at.pieces, offset, f"({end}"))
        return [self._opened(entry, line) for line in lines]

    def _opened(self, entry: Manifest, line: bytes) -> PieceEntry:
        offset, length, chain, digest, seal = [*line.decode(errors="replace").split(":"), *[""] * 5][:5]
        if _is_number(offset) and _is_number(length):
            opened = PieceEntry(int(offset), int(length), chain, digest)
            place = (entry.lineage_at(opened.offset), *opened)
            if self._sealer.digest("line", entry.record.key, place, b"") == seal:
                return opened
        raise DamagedValue(f"the index of session {entry.record.key.id!r} near {offset!r}")


class RedisTexts:
    def __init__(self, records: Records, journal: Journal, indexes: Indexes) -> None:
        self._records, self._journal, self._indexes = records, journal, indexes
        self._turns: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()

    async def append(
        self, key: SessionKey, offset: int, piece: bytes, at: float, repeats: bool, document: str | None
    ) -> Appended:
        await self._indexes.mark_unread(key)
        # Concurrent appends to one session would only make each other's scripts fail.
        async with self._turns.setdefault(key, asyncio.Lock()):
            return await self._records.decide(
                key, lambda found: self._append(found, offset, piece, at, repeats, document)
            )

    async def read(self, found: Found, offset: int, limit: int) -> bytes:
        entry = found.entry
        accepted = entry.record.accepted_bytes
        if offset > accepted:
            raise OffsetMismatch(accepted)
        if offset < entry.journal_offset:
            raise rules.trimmed(offset, entry.journal_offset)
        return await self._journal.read(entry, offset, min(offset + limit, accepted))

    async def _append(
        self, found: Found, offset: int, piece: bytes, at: float, repeats: bool, document: str | None
    ) -> Appended | None:
        """The answer, or None if another change came first."""
        entry, place = found.entry, names(found.entry.record.key)
        accepted = entry.record.accepted_bytes
        known, new = rules.placed(accepted, offset, piece, repeats)
        if known:
            await self._journal.recognise(entry, offset, known)
        if not new:
            # Compared and written on the master: the record may have been read from one that no longer is.
            used = replace(entry, record=rules.used(entry.record, at))
            sure = await self._records.change("replace", [place.record], found.sealed, self._records.seal(used))
            return Appended(used.record, replayed=True) if sure else None
        grown = replace(entry, record=rules.grown(entry.record, new, at, document))
        sealed, line = self._journal.sealed(entry, new)
        kept = await self._records.change(
            "append",
            [place.record, place.journal, place.pieces],
            found.sealed,
            self._records.seal(grown),
            accepted,
            sealed,
            line,
            entry.journal_offset,
            REPEATS_KEPT,
        )
        return Appended(grown.record, replayed=False) if kept else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20
