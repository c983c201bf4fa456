"""What a store has that no session needs: looked for behind its back, while no process has it open."""

from __future__ import annotations

from pathlib import Path

import apsw

from reliability.parts.family import TENANT
from server.store.base import Pool, SessionKey
from server.store.manifest import Manifest
from server.store.parts import named
from server.store.redis.names import EXPIRY, LENDING, SEALED_WITH, UNREAD, lenders_of, sessions_of
from server.store.redis.parts import UNKEPT_SECONDS
from server.store.sqlite import lenders, memories, sessions
from server.store.sqlite.schema import FILE_NAME
from testing.redis_servers import RedisServer

TABLES = ("session", "checkpoint", "snapshot", "part", "loan", "lender")
INDEXES = {UNREAD, EXPIRY, LENDING, SEALED_WITH, sessions_of(TENANT), lenders_of(TENANT)}
# The time to live that Redis reports for a key that no longer exists.
GONE = -2


def unneeded_in_sqlite(folder: Path) -> list[str]:
    """Parts that no memory and no loan names, and loans whose borrower does not need them."""
    with apsw.Connection(str(folder / FILE_NAME)) as connection:
        owners = _owners(connection)
        found = []
        for id, lineage, number in connection.execute("SELECT id, lineage, count(*) FROM part GROUP BY id, lineage"):
            owner = owners.get(pool := Pool(id, lineage))
            needed = len(named(memories.roots(connection, owner), pool)) if owner else 0
            if number != needed:
                found.append(f"session {id} has {number} parts, and its memories and loans name {needed}")
        for id, lineage, *borrower in connection.execute("SELECT id, lineage, borrower, borrower_lineage FROM loan"):
            fork = owners.get(Pool(*borrower))
            if fork is None or Pool(id, lineage) not in fork.borrowed:
                found.append(f"session {id} has a loan for {borrower[0]}, which needs none")
    return found


def _owners(connection: apsw.Connection) -> dict[Pool, Manifest]:
    """The manifests of all sessions and lenders, by their pools."""
    ids = [id for (id,) in connection.execute("SELECT id FROM session")]
    lending = [Pool(*place) for place in connection.execute("SELECT id, lineage FROM lender")]
    found = [sessions.load(connection, SessionKey(TENANT, id)) for id in ids]
    found += filter(None, [lenders.load_lender(connection, TENANT, pool) for pool in lending])
    return {manifest.pool: manifest for manifest in found}


def left_in_sqlite(folder: Path) -> list[str]:
    """What is left although no session exists."""
    with apsw.Connection(str(folder / FILE_NAME)) as connection:
        rows = {table: connection.execute(f"SELECT count(*) FROM {table}").get for table in TABLES}
    return [f"{number} rows of the table {table} are left" for table, number in rows.items() if number]


def left_in_redis(server: RedisServer) -> list[str]:
    """What is left although no session exists, but for keys that run out by themselves."""
    with server.client() as client:
        keys = [key.decode(errors="replace") for key in client.scan_iter(count=1000)]
        left = [key for key in keys if key not in INDEXES and not _runs_out(client.ttl(key))]
        lending = client.zcard(LENDING)
    return [f"the key {key} is left" for key in left] + [f"{lending} pools are listed as lending"] * bool(lending)


def _runs_out(seconds: int) -> bool:
    return seconds == GONE or 0 <= seconds <= UNKEPT_SECONDS
