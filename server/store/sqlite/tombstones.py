"""The rows of sessions whose time was over: their names, so that it is told what became of them.

It knows nothing else of what they were.
"""

import apsw

from server.store.base import TOMBSTONE_SECONDS, SessionKey


def set_up(connection: apsw.Connection, key: SessionKey, at: float) -> None:
    connection.execute("REPLACE INTO tombstone (tenant, id, until) VALUES (?, ?, ?)", (*key, at + TOMBSTONE_SECONDS))


def exists(connection: apsw.Connection, key: SessionKey) -> bool:
    found = connection.execute("SELECT 1 FROM tombstone WHERE tenant = ? AND id = ?", key).fetchone()
    return found is not None


def remove(connection: apsw.Connection, key: SessionKey) -> None:
    connection.execute("DELETE FROM tombstone WHERE tenant = ? AND id = ?", key)


def clear(connection: apsw.Connection, at: float) -> None:
    """Lets go of those whose own time is over."""
    connection.execute("DELETE FROM tombstone WHERE until <= ?", (at,))
