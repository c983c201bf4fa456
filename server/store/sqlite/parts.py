"""The rows of parts. A part's name is a hash of its digest that differs from pool to pool.

A row has no checksum of its own: the root that names the part has the content's SHA-256.
"""

import json
from collections.abc import Iterable, Sequence
from hashlib import blake2b, sha256
from typing import Any

import apsw

from server.store.base import DamagedValue, SessionKey, digest
from server.store.parts import PART_BYTES_MAX, Part, Pool, StoredPart

# At most this many bytes of parts are read in one transaction, so that other operations run in between.
LOADED_BYTES = 16 * PART_BYTES_MAX
_SEARCH = "SELECT CAST(value AS BLOB) FROM part WHERE tenant = ? AND id = ? AND lineage = ? AND name = ?"


def add(connection: apsw.Connection, tenant: str, pool: Pool, parts: Iterable[Part]) -> None:
    # A row that is there already belongs to a loan, or is what damage left.
    connection.executemany(
        "REPLACE INTO part (tenant, id, lineage, name, value) VALUES (?, ?, ?, ?, ?)",
        ((tenant, *pool, name, part.content()) for name, part in _named(tenant, pool, parts)),
    )


def remove(connection: apsw.Connection, tenant: str, pool: Pool, parts: Iterable[Part]) -> None:
    connection.executemany(
        "DELETE FROM part WHERE tenant = ? AND id = ? AND lineage = ? AND name = ?",
        ((tenant, *pool, name) for name, _ in _named(tenant, pool, parts)),
    )


def remove_pool(connection: apsw.Connection, tenant: str, pool: Pool) -> None:
    connection.execute("DELETE FROM part WHERE tenant = ? AND id = ? AND lineage = ?", (tenant, *pool))


def fetch(connection: apsw.Connection, tenant: str, parts: Sequence[StoredPart]) -> list[object]:
    """The values of the parts' rows, not checked; None where there is none."""
    keys = {pool: _key(tenant, pool) for pool in {part.pool for part in parts}}
    places = [(tenant, *part.pool, _name(keys[part.pool], part)) for part in parts]
    return [connection.execute(_SEARCH, place).get for place in places]


def checked(parts: Sequence[StoredPart], values: Sequence[object]) -> list[bytes]:
    """The contents that `fetch` found; `DamagedValue`."""
    return [_checked(part, value) for part, value in zip(parts, values, strict=True)]


def _checked(part: StoredPart, value: object) -> bytes:
    if value is None:
        return part.content()
    if not isinstance(value, bytes) or digest(value) != part.digest:
        raise DamagedValue(f"part {part.digest.hex()[:12]} of session {part.pool.id!r}")
    return value


def grouped(parts: Sequence[StoredPart]) -> list[list[StoredPart]]:
    """The parts in groups of at most LOADED_BYTES, in order."""
    groups: list[list[StoredPart]] = []
    room = 0
    for part in parts:
        if part.size > room:
            groups.append([])
            room = LOADED_BYTES
        groups[-1].append(part)
        room -= part.size
    return groups


def pools_of(connection: apsw.Connection, key: SessionKey) -> list[Pool]:
    """The pools of all sessions of this name that have parts."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT DISTINCT CAST(lineage AS BLOB) FROM part WHERE tenant = ? AND id = ?", key
    ).fetchall()
    return [Pool(key.id, lineage.decode(errors="replace")) for (lineage,) in rows]


def _named(tenant: str, pool: Pool, parts: Iterable[Part]) -> Iterable[tuple[bytes, Part]]:
    key = _key(tenant, pool)
    return ((_name(key, part), part) for part in parts)


def _key(tenant: str, pool: Pool) -> bytes:
    return sha256(json.dumps([tenant, *pool]).encode()).digest()


def _name(key: bytes, part: Part) -> bytes:
    return blake2b(part.digest, key=key, digest_size=32).digest()
