"""The SQLite file: its settings, its tables, and which versions of them can be opened."""

from contextlib import suppress
from pathlib import Path

import apsw

from server.store.base import StoreUnavailable
from server.store.sqlite import folder as folders
from server.store.sqlite import sessions

FILE_NAME = "onceread.sqlite"
SCHEMA_VERSION = 4

# In this order: the lock first, for the log's index stays out of a shared file, and other programs out of
# both, only where the lock is exclusive before anything is read; then what only takes while the file is
# empty. The last keeps what undoes a failed operation out of the host's temporary folder, which may be
# read-only. Each with SQLite's own answer.
SETTINGS: tuple[tuple[str, int | str, int | str], ...] = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),
    ("page_size", 16384, 16384),
    ("auto_vacuum", "INCREMENTAL", 2),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),
    ("temp_store", "MEMORY", 2),
)

# Large values come last in their rows, so that whatever stands before them is read without them.
TABLES = """
CREATE TABLE session (
    tenant TEXT NOT NULL, id TEXT NOT NULL, created_at REAL NOT NULL,
    seal BLOB NOT NULL, entry BLOB NOT NULL,
    PRIMARY KEY (tenant, id)
);
CREATE INDEX session_by_age ON session (tenant, created_at, id);
CREATE TABLE piece (
    tenant TEXT NOT NULL, id TEXT NOT NULL, offset INTEGER NOT NULL,
    seal BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (tenant, id, offset)
);
CREATE TABLE repeat (
    tenant TEXT NOT NULL, id TEXT NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL,
    seal BLOB NOT NULL, digest BLOB NOT NULL,
    PRIMARY KEY (tenant, id, offset)
) WITHOUT ROWID;
CREATE TABLE checkpoint (
    tenant TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL,
    seal BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (tenant, id, version)
);
"""
# What version 2 has beyond version 1, which had no sessions that expire.
SECOND_VERSION = """
CREATE TABLE tombstone (
    tenant TEXT NOT NULL, id TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
"""
# What version 3 has beyond version 2, which had no snapshots.
THIRD_VERSION = """
CREATE TABLE snapshot (
    tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL,
    seal BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (tenant, id, name)
);
"""
# What version 4 has beyond version 3, whose sweep decoded every session: hints, and an index for each.
FOURTH_VERSION = """
ALTER TABLE session ADD COLUMN expires_at REAL;
ALTER TABLE session ADD COLUMN unread_bytes INTEGER;
ALTER TABLE session ADD COLUMN stored_bytes INTEGER;
CREATE INDEX session_by_expiry ON session (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX session_by_unread ON session (unread_bytes) WHERE unread_bytes IS NOT NULL;
CREATE INDEX session_by_size ON session (tenant, stored_bytes);
"""
_STEPS = (TABLES, SECOND_VERSION, THIRD_VERSION, FOURTH_VERSION)


def connect(folder: Path) -> apsw.Connection:
    """The folder's file, opened, understood, and with all that can be seen in it on the disk."""
    connection = apsw.Connection(str(folder / FILE_NAME))
    try:
        _set(connection, folder)
        _understand(connection, folder)
        # After a failed sync the log can hold a commit that only the page cache knows. Nothing may be
        # built on it before it is durable: this moves it into the file and syncs that.
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        # The log's truncation is not synced: after a power cut an old log without that commit would be applied to
        # the file that has it. A commit begins a new log, whose header makes all of the old one invalid.
        connection.pragma("user_version", SCHEMA_VERSION)
        folders.sync(folder)
        with connection:
            sessions.renew_hints(connection)
    except BaseException:
        # A second failure would only hide the first.
        with suppress(Exception):
            connection.close(force=True)
        raise
    return connection


def _set(connection: apsw.Connection, folder: Path) -> None:
    for name, value, answer in SETTINGS:
        connection.pragma(name, value)
        found = connection.pragma(name)
        if found != answer:
            raise StoreUnavailable(
                f"{folder / FILE_NAME} cannot be used with {name} {value} (it stays {found}): "
                "use a local disk, and a file that was made by this server"
            )


def _understand(connection: apsw.Connection, folder: Path) -> None:
    version = connection.pragma("user_version")
    if version == SCHEMA_VERSION:
        return
    foreign = version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get > 0
    if foreign or not 0 <= version < SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{folder / FILE_NAME} has schema version {version}, this server understands {SCHEMA_VERSION}: "
            "run the version of the server that wrote it, or name another data folder"
        )
    connection.execute(f"BEGIN IMMEDIATE; {''.join(_STEPS[version:])} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
