"""The embedded store: one SQLite file in one data folder."""

from server.store.sqlite.store import SqliteStore

__all__ = ["SqliteStore"]
