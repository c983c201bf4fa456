"""The SQLite file: its settings, its tables, and the schema versions that can be opened."""

from contextlib import suppress
from pathlib import Path

import apsw

from server.store.base import StoreUnavailable
from server.store.sqlite import folder as folders
from server.store.sqlite import lenders, sessions

FILE_NAME = "onceread.sqlite"
SCHEMA_VERSION = 5

# The order matters. The lock comes first: only if it is exclusive before the first read does SQLite keep the WAL index
# in memory instead of a shared file, and other programs out. The settings that take effect only in an empty file come
# next. The last keeps statement journals out of the host's temporary folder, which may be read-only.
# Each is (name, value, SQLite's answer).
SETTINGS: tuple[tuple[str, int | str, int | str], ...] = (
    ("locking_mode", "EXCLUSIVE", "exclusive"),
    ("page_size", 16384, 16384),
    ("auto_vacuum", "INCREMENTAL", 2),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),
    ("temp_store", "MEMORY", 2),
    # Zeros take the place of deleted rows in pages that stay in use; free pages leave the file (`WriterThread.erase`).
    ("secure_delete", "FAST", 2),
)

# Large values come last in their rows, so that the columns before them are read without them.
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
# Version 2 added sessions that expire.
SECOND_VERSION = """
CREATE TABLE tombstone (
    tenant TEXT NOT NULL, id TEXT NOT NULL, until REAL NOT NULL,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;
"""
# Version 3 added snapshots.
THIRD_VERSION = """
CREATE TABLE snapshot (
    tenant TEXT NOT NULL, id TEXT NOT NULL, name TEXT NOT NULL,
    seal BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (tenant, id, name)
);
"""
# Version 4 added hints and an index for each; before, the sweep decoded every session.
FOURTH_VERSION = """
ALTER TABLE session ADD COLUMN expires_at REAL;
ALTER TABLE session ADD COLUMN unread_bytes INTEGER;
ALTER TABLE session ADD COLUMN stored_bytes INTEGER;
CREATE INDEX session_by_expiry ON session (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX session_by_unread ON session (unread_bytes) WHERE unread_bytes IS NOT NULL;
CREATE INDEX session_by_size ON session (tenant, stored_bytes);
"""
# Version 5 added the parts of memories. Id and lineage are those of the pool, in the rows of its loans and lender too.
FIFTH_VERSION = """
CREATE TABLE part (
    tenant TEXT NOT NULL, id TEXT NOT NULL, lineage TEXT NOT NULL, name BLOB NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (tenant, id, lineage, name)
);
CREATE TABLE loan (
    tenant TEXT NOT NULL, id TEXT NOT NULL, lineage TEXT NOT NULL,
    borrower TEXT NOT NULL, borrower_lineage TEXT NOT NULL, at REAL NOT NULL, parts INTEGER NOT NULL,
    seal BLOB NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (tenant, id, lineage, borrower, borrower_lineage)
);
CREATE INDEX loan_by_borrower ON loan (tenant, borrower);
CREATE TABLE lender (
    tenant TEXT NOT NULL, id TEXT NOT NULL, lineage TEXT NOT NULL, stored_bytes INTEGER,
    seal BLOB NOT NULL, entry BLOB NOT NULL,
    PRIMARY KEY (tenant, id, lineage)
);
"""
_STEPS = (TABLES, SECOND_VERSION, THIRD_VERSION, FOURTH_VERSION, FIFTH_VERSION)


def connect(folder: Path) -> apsw.Connection:
    """Opens the folder's file and migrates its schema; everything that it shows is durable when this returns."""
    connection = apsw.Connection(str(folder / FILE_NAME))
    try:
        _set(connection, folder)
        _migrate(connection, folder)
        # After a failed fsync the WAL can hold a commit that is only in the page cache. Nothing may be
        # built on it before it is durable: this moves it into the file and syncs that.
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        # The WAL's truncation is not synced: after a power cut an old WAL without that commit would be applied to
        # the file that has it. A commit begins a new WAL, whose header makes all of the old one invalid.
        connection.pragma("user_version", SCHEMA_VERSION)
        folders.sync(folder)
        with connection:
            sessions.renew_hints(connection)
            lenders.renew_hints(connection)
    except BaseException:
        # A second failure would hide the first.
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
                "use a local disk, and a file that this server created"
            )


def _migrate(connection: apsw.Connection, folder: Path) -> None:
    version = connection.pragma("user_version")
    if version == SCHEMA_VERSION:
        return
    foreign = version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").get > 0
    if foreign or not 0 <= version < SCHEMA_VERSION:
        raise StoreUnavailable(
            f"{folder / FILE_NAME} has schema version {version}, this server understands {SCHEMA_VERSION}: "
            "run the version of the server that wrote it, or use another data folder"
        )
    connection.execute(f"BEGIN IMMEDIATE; {''.join(_STEPS[version:])} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT")
