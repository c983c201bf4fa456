"""Translates errors of SQLite and the operating system into the contract's: what happened, and what to do."""

import errno

import apsw

from server.store.base import StoreError, StoreFull, StoreUnavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ADVICE: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.BusyError, "another program has the store's file open: close that program"),
    (apsw.CantOpenError, "the store's file cannot be opened: check the data folder's path and permissions"),
    (apsw.ReadOnlyError, "the store's file cannot be written: check the data folder's permissions"),
    (apsw.PermissionsError, "the store's file cannot be used: check the data folder's permissions"),
    (apsw.NotADBError, "the store's file is not a database: restore it from a backup, or use another folder"),
    (apsw.CorruptError, "the store's file is damaged: restore it from a backup"),
    (apsw.IOError, "the disk failed: check it; requests that were not acknowledged may be sent again"),
    (apsw.NoMemError, "the host is out of memory: give it more, or send less at a time"),
    (apsw.Error, "SQLite refused the operation: see the cause"),
)


def explained(error: Exception) -> Exception:
    """The error to raise instead of `error`: itself, unless the disk or the database failed."""
    reason = _reason(error)
    if reason is not None:
        reason.__cause__ = error
        return reason
    return error


def _reason(error: Exception) -> StoreError | None:
    if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in _FULL):
        return StoreFull("the disk is full and nothing was stored: free some space, then send it again")
    if isinstance(error, OSError):
        return StoreUnavailable(f"the data folder cannot be used ({error}): check its path and permissions")
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return StoreUnavailable(f"{advice} ({error})")
    return None
