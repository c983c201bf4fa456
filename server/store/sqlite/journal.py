"""The rows of a journal: its pieces as they were sent, and digests that recognise them once they are trimmed."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import apsw

from server.store.base import REPEATS_KEPT, ContentConflict, DamagedValue, OffsetMismatch, Range, SessionKey, digest
from server.store.manifest import Manifest
from server.store.redaction import BLANK
from server.store.sqlite.checksum import checksum, matches


def keep(connection: apsw.Connection, key: SessionKey, offset: int, piece: bytes) -> None:
    """Adds a piece at the end of the journal, and its digest."""
    connection.execute(
        "INSERT INTO piece (tenant, id, offset, seal, value) VALUES (?, ?, ?, ?, ?)",
        (*key, offset, checksum("piece", key, (offset,), piece), piece),
    )
    kept = digest(piece)
    connection.execute(
        "INSERT INTO repeat (tenant, id, offset, length, seal, digest) VALUES (?, ?, ?, ?, ?, ?)",
        (*key, offset, len(piece), checksum("repeat", key, (offset, len(piece)), kept), kept),
    )
    connection.execute(
        "DELETE FROM repeat WHERE tenant = ?1 AND id = ?2 AND offset <= (SELECT offset FROM repeat "
        "WHERE tenant = ?1 AND id = ?2 ORDER BY offset DESC LIMIT 1 OFFSET ?3)",
        (*key, REPEATS_KEPT),
    )


def read(connection: apsw.Connection, key: SessionKey, offset: int, end: int) -> bytes:
    """The journal's bytes from `offset` up to `end`."""
    found = bytearray()
    for start, piece in _pieces(connection, key, offset, end):
        found += piece[max(offset - start, 0) : end - start]
    return bytes(found)


def recognise(connection: apsw.Connection, manifest: Manifest, offset: int, known: bytes) -> None:
    """Returns when `known` equals the text accepted at `offset`, and raises otherwise.

    `known` does not extend beyond the accepted text.
    """
    key, accepted_bytes = manifest.record.key, manifest.record.accepted_bytes
    end = offset + len(known)
    kept_from = min(max(offset, manifest.journal_offset), end)
    if read(connection, key, kept_from, end) != known[kept_from - offset :]:
        raise ContentConflict(accepted_bytes)
    recognised_bytes = 0
    for start, length, kept in _repeats(connection, key, offset, kept_from):
        if start + length > end:
            continue
        if digest(known[start - offset : start - offset + length]) != kept:
            raise ContentConflict(accepted_bytes)
        recognised_bytes += length
    if recognised_bytes < kept_from - offset:
        raise OffsetMismatch(accepted_bytes)


def trim(connection: apsw.Connection, key: SessionKey, offset: int) -> int:
    """Deletes the pieces that end at `offset` or before; returns where the journal starts from then on."""
    connection.execute(
        "DELETE FROM piece WHERE tenant = ? AND id = ? AND offset < ? AND offset + octet_length(value) <= ?",
        (*key, offset, offset),
    )
    first = connection.execute("SELECT min(offset) FROM piece WHERE tenant = ? AND id = ?", key).get
    # Never later than `offset`: a piece that is lost after it must still be noticed.
    return offset if first is None else min(first, offset)


def cut(connection: apsw.Connection, manifest: Manifest, offset: int) -> None:
    """Deletes the text after `offset`, and cuts a piece that spans it; `DamagedValue` where that piece is damaged."""
    key, begin, left = manifest.record.key, offset, b""
    if offset > manifest.journal_offset:
        [(start, piece)] = _pieces(connection, key, offset - 1, offset)
        if start + len(piece) > offset:
            begin, left = start, piece[: offset - start]
    connection.execute("DELETE FROM piece WHERE tenant = ? AND id = ? AND offset >= ?", (*key, begin))
    connection.execute("DELETE FROM repeat WHERE tenant = ? AND id = ? AND offset >= ?", (*key, begin))
    if left:
        keep(connection, key, begin, left)


def blank(connection: apsw.Connection, manifest: Manifest, ranges: Iterable[Range]) -> list[tuple[int, bytes]]:
    """Makes the kept bytes in these ranges newlines; returns those that were here, by offset. `DamagedValue`."""
    key, found = manifest.record.key, list[tuple[int, bytes]]()
    for begin, end in ranges:
        first = max(begin, manifest.journal_offset)
        if first >= end:
            continue
        for start, piece in list(_pieces(connection, key, first, end)):
            low, high = max(first - start, 0), min(end - start, len(piece))
            blanked = piece[:low] + BLANK * (high - low) + piece[high:]
            found.append((start + low, piece[low:high]))
            connection.execute(
                "UPDATE piece SET seal = ?, value = ? WHERE tenant = ? AND id = ? AND offset = ?",
                (checksum("piece", key, (start,), blanked), blanked, *key, start),
            )
        connection.execute(
            "DELETE FROM repeat WHERE tenant = ? AND id = ? AND offset < ? AND offset + length > ?", (*key, end, begin)
        )
    return found


def gapless_from(connection: apsw.Connection, manifest: Manifest) -> int:
    """The lowest offset from which all pieces up to the end exist, judged by their places alone."""
    reached = manifest.record.accepted_bytes
    places = connection.execute(
        "SELECT offset, coalesce(octet_length(value), 0) FROM piece "
        "WHERE tenant = ? AND id = ? AND offset < ? ORDER BY offset DESC",
        (*manifest.record.key, reached),
    )
    for start, length in places:
        if start + length != reached:
            break
        reached = start
    return max(reached, manifest.journal_offset)


def remove(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM piece WHERE tenant = ? AND id = ?", key)
    connection.execute("DELETE FROM repeat WHERE tenant = ? AND id = ?", key)


def _pieces(connection: apsw.Connection, key: SessionKey, offset: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The pieces that together hold all of `offset` to `end`, each checked."""
    reached = offset
    found = connection.execute(
        "SELECT offset, CAST(seal AS BLOB), CAST(value AS BLOB) FROM piece WHERE tenant = ?1 AND id = ?2 "
        "AND offset >= (SELECT max(offset) FROM piece WHERE tenant = ?1 AND id = ?2 AND offset <= ?3) "
        "AND offset < ?4 ORDER BY offset",
        (*key, offset, end),
    )
    # Closed here: otherwise a raised error would carry an open cursor to other threads.
    with closing(found) as rows:
        for start, stored_checksum, piece in rows:
            if not matches(stored_checksum, "piece", key, (start,), piece) or not start <= reached < start + len(piece):
                break
            yield start, piece
            reached = start + len(piece)
    if reached < end:
        raise DamagedValue(f"the journal of session {key.id!r} at offset {reached}")


def _repeats(connection: apsw.Connection, key: SessionKey, offset: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """Offset, length and digest of the remembered pieces that start from `offset` up to `end`."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT offset, CAST(length AS INTEGER), CAST(seal AS BLOB), CAST(digest AS BLOB) FROM repeat "
        "WHERE tenant = ? AND id = ? AND offset >= ? AND offset < ? ORDER BY offset",
        (*key, offset, end),
    ).fetchall()
    for start, length, stored_checksum, kept in rows:
        if not matches(stored_checksum, "repeat", key, (start, length), kept):
            raise DamagedValue(f"the digest of session {key.id!r} at offset {start}")
        yield start, length, kept
