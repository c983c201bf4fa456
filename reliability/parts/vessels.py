"""Stores whose parts, loans and lenders can be damaged and restored behind their backs, one value at a time."""

from __future__ import annotations

import random
from typing import Any

import apsw

from reliability.damage.values import SEALED, mutilated
from server.store.redis import RedisStore
from server.store.sqlite import SqliteStore
from testing.redis_servers import RedisServer

PART, LOAN = "part", "loan"
KINDS = (PART, PART, LOAN, "lender")
WAYS = ("mutilated", "mutilated", "exchanged", "lost")
TABLES = ("session", "piece", "repeat", "checkpoint", "snapshot", "tombstone", "part", "loan", "lender")
_VALUES = {"part": ("value",), "loan": ("seal", "value"), "lender": ("seal", "entry")}

Rows = dict[str, list[tuple[Any, ...]]]


class InSqlite:
    name = "SQLite"

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self._rows: Rows = {}

    async def look(self) -> None:
        """Records all rows."""
        self._rows = await self.store.writer.run(_all_rows)

    async def hurt(self, dice: random.Random) -> tuple[str, str]:
        """Damages one value, or exchanges two of a kind; the kind, and what was done."""
        return await self.store.writer.run(lambda connection: _hurt(connection, dice))

    async def heal(self) -> None:
        await self.store.writer.run(self._put_all)

    async def close(self) -> None:
        await self.store.close()

    def _put_all(self, connection: apsw.Connection) -> None:
        for table, rows in self._rows.items():
            connection.execute(f"DELETE FROM {table}")
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _all_rows(connection: apsw.Connection) -> Rows:
    return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def _hurt(connection: apsw.Connection, dice: random.Random) -> tuple[str, str]:
    ids = {kind: [id for (id,) in connection.execute(f"SELECT rowid FROM {kind} ORDER BY rowid")] for kind in KINDS}
    kind = dice.choice([kind for kind in KINDS if ids[kind]])
    way, rowid = dice.choice(WAYS), dice.choice(ids[kind])
    columns = ", ".join(_VALUES[kind])
    sets = ", ".join(f"{column} = ?" for column in _VALUES[kind])

    def values(of: int) -> tuple[Any, ...]:
        [found] = connection.execute(f"SELECT {columns} FROM {kind} WHERE rowid = ?", (of,))
        return tuple(found)

    def put(of: int, what: tuple[Any, ...]) -> None:
        connection.execute(f"UPDATE {kind} SET {sets} WHERE rowid = ?", (*what, of))

    if way == "lost":
        connection.execute(f"DELETE FROM {kind} WHERE rowid = ?", (rowid,))
    elif way == "exchanged" and len(ids[kind]) > 1:
        other = dice.choice([each for each in ids[kind] if each != rowid])
        one, two = values(rowid), values(other)
        put(rowid, two)
        put(other, one)
    else:
        old = list(values(rowid))
        number = dice.randrange(len(old))
        way, old[number] = mutilated(dice, old[number])
        put(rowid, tuple(old))
    return kind, way


class InRedis:
    name = "Valkey"

    def __init__(self, store: RedisStore, server: RedisServer) -> None:
        self.store = store
        self._raw = server.client()
        self._dumps: dict[bytes, bytes] = {}

    async def look(self) -> None:
        """Records all keys."""
        self._dumps = {key: self._ask("DUMP", key) for key in sorted(self._ask("KEYS", "*"))}

    async def hurt(self, dice: random.Random) -> tuple[str, str]:
        """Damages one value, or exchanges two of a kind; the kind, and what was done."""
        self._forget_cached()
        keys = {kind: [key for key in self._dumps if f":{kind}:".encode() in key] for kind in KINDS}
        kind = dice.choice([kind for kind in KINDS if keys[kind]])
        way, key = dice.choice(WAYS), dice.choice(keys[kind])
        if way == "lost":
            self._ask("DEL", key)
        elif way == "exchanged" and len(keys[kind]) > 1:
            other = dice.choice([each for each in keys[kind] if each != key])
            self._ask("RESTORE", key, 0, self._dumps[other], "REPLACE")
            self._ask("RESTORE", other, 0, self._dumps[key], "REPLACE")
        elif kind == LOAN:
            way, value = mutilated(dice, self._ask("HGET", key, 0), SEALED)
            self._ask("HSET", key, 0, value)
        else:
            way, value = mutilated(dice, self._ask("GET", key), SEALED)
            self._ask("SET", key, value)
        return kind, way

    async def heal(self) -> None:
        self._ask("FLUSHDB")
        for key, dump in self._dumps.items():
            self._ask("RESTORE", key, 0, dump)

    async def close(self) -> None:
        self._raw.close()
        await self.store.close()

    def _forget_cached(self) -> None:
        """Roots that the store remembers would hide the damage, as they do until a server restarts."""
        self.store._memories._roots.clear()
        self.store._memories._parts_cached = 0
        self.store._loans._borrowed.clear()

    def _ask(self, *words: Any) -> Any:
        return self._raw.execute_command(*words)  # type: ignore[no-untyped-call]


Vessel = InSqlite | InRedis
