"""Sessions in the embedded store whose rows are damaged and restored through the store's own connection."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from reliability.damage.life import History
from reliability.damage.values import Hurt, mutilated
from server.store.base import SessionKey
from server.store.sqlite import SqliteStore

# For each table the columns that identify a row, and those of its seal and sealed value.
TABLES = {
    "session": (("tenant", "id"), ("seal", "entry")),
    "piece": (("tenant", "id", "offset"), ("seal", "value")),
    "repeat": (("tenant", "id", "offset"), ("seal", "digest")),
    "checkpoint": (("tenant", "id", "version"), ("seal", "value")),
}
_UNSEALED = {"session": "created_at", "repeat": "length"}
HINTS = ("expires_at", "unread_bytes", "stored_bytes")
_OTHER_TYPES = ("'text'", "1.5", "CAST(x'ff' AS TEXT)", "x''", "9e999", "-1")


class Row(NamedTuple):
    table: str
    columns: dict[str, Any]

    @property
    def session(self) -> SessionKey:
        return SessionKey(self.columns["tenant"], self.columns["id"])

    @property
    def here(self) -> tuple[str, tuple[Any, ...]]:
        """The SQL condition that finds the row, and its parameters."""
        places = TABLES[self.table][0]
        return " AND ".join(f"{place} = ?" for place in places), tuple(self.columns[place] for place in places)


class InSqlite:
    """The sessions of a history; all their rows are restored after every case."""

    name = "SQLite"

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self._rows: list[Row] = []
        self._older: list[tuple[Row, bytes]] = []

    @classmethod
    async def filled(cls, folder: Path, history: History) -> InSqlite:
        vessel = cls(await SqliteStore.open(folder))
        async for key, twin in history.live(vessel.store):
            rows = await vessel.store.writer.run(_rows)
            vessel._older += [(row, twin) for row in rows if row.table == "session" and row.session == key]
        vessel._rows = await vessel.store.writer.run(_rows)
        return vessel

    async def hurt(self, dice: random.Random) -> Hurt:
        ways: tuple[Callable[[random.Random], tuple[Hurt, str, tuple[Any, ...]]], ...] = (
            *(self._mutilate, self._mutilate, self._mutilate, self._swap, self._swap),
            *(self._move, self._retype, self._lose, self._put_back),
        )
        hurt, statement, values = dice.choice(ways)(dice)
        await self.store.writer.run(lambda connection: connection.execute(statement, values).fetchall())
        return hurt

    async def heal(self) -> None:
        await self.store.writer.run(self._put_all)

    async def close(self) -> None:
        await self.store.close()

    def _put_all(self, connection: apsw.Connection) -> None:
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")
        for row in self._rows:
            names, placeholders = ", ".join(row.columns), ", ".join("?" * len(row.columns))
            connection.execute(
                f"INSERT INTO {row.table} ({names}) VALUES ({placeholders})", tuple(row.columns.values())
            )

    def _mutilate(self, dice: random.Random) -> tuple[Hurt, str, tuple[Any, ...]]:
        row = dice.choice(self._rows)
        column = dice.choice(TABLES[row.table][1])
        way, value = mutilated(dice, row.columns[column])
        return self._set(row, way, {column: value})

    def _swap(self, dice: random.Random) -> tuple[Hurt, str, tuple[Any, ...]]:
        """Takes the seal, the value or both from another row."""
        row, other = dice.sample(self._rows, 2)
        pairs = list(zip(TABLES[row.table][1], TABLES[other.table][1], strict=True))
        taken = dice.choice((pairs, pairs, pairs[:1], pairs[1:]))
        kind = "row" if row.table == other.table else "kind"
        return self._set(row, f"of another {kind}", {mine: other.columns[its] for mine, its in taken})

    def _move(self, dice: random.Random) -> tuple[Hurt, str, tuple[Any, ...]]:
        row, other = dice.choice(self._rows), dice.choice(self._rows)
        places = TABLES[row.table][0]
        column = dice.choice((*places, _UNSEALED.get(row.table, places[-1])))
        value = row.columns[column]
        if isinstance(value, str):
            return self._set(row, "moved", {column: dice.choice((other.columns[column], "zz"))})
        return self._set(row, "moved", {column: value + dice.choice((-7, -1, 1, 7))})

    def _retype(self, dice: random.Random) -> tuple[Hurt, str, tuple[Any, ...]]:
        row = dice.choice(self._rows)
        # Hints have tests of their own: a wrong one only delays the sweep until the file is opened again.
        column, (condition, here) = dice.choice([name for name in row.columns if name not in HINTS]), row.here
        statement = f"UPDATE OR IGNORE {row.table} SET {column} = {dice.choice(_OTHER_TYPES)} WHERE {condition}"
        return Hurt(f"{row.table}: of another type", row.session), statement, here

    def _lose(self, dice: random.Random) -> tuple[Hurt, str, tuple[Any, ...]]:
        row = dice.choice(self._rows)
        condition, here = row.here
        return Hurt(f"{row.table}: lost", row.session), f"DELETE FROM {row.table} WHERE {condition}", here

    def _put_back(self, dice: random.Random) -> tuple[Hurt, str, tuple[Any, ...]]:
        row, twin = dice.choice(self._older)
        _, statement, values = self._set(row, "", {name: row.columns[name] for name in TABLES["session"][1]})
        return Hurt("session: an older one", row.session, older=twin), statement, values

    def _set(self, row: Row, way: str, columns: dict[str, Any]) -> tuple[Hurt, str, tuple[Any, ...]]:
        condition, here = row.here
        sets = ", ".join(f"{column} = ?" for column in columns)
        statement = f"UPDATE OR IGNORE {row.table} SET {sets} WHERE {condition}"
        return Hurt(f"{row.table}: {way}", row.session), statement, (*columns.values(), *here)


def _rows(connection: apsw.Connection) -> list[Row]:
    found = []
    for table in TABLES:
        names = [name for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        found += [
            Row(table, dict(zip(names, row, strict=True))) for row in connection.execute(f"SELECT * FROM {table}")
        ]
    return found
