"""What went wrong underneath, in the contract's words: what happened and what to do.

It knows the errors of SQLite and the operating system, not what was being done.
"""

import errno

import apsw

from server.store.base import StoreError, StoreFull, StoreUnavailable

_FULL = (errno.ENOSPC, errno.EDQUOT)
_ADVICE: tuple[tuple[type[apsw.Error], str], ...] = (
    (apsw.BusyError, "another program has the store's file open: close that program"),
    (apsw.CantOpenError, "the store's file can not be opened: check the data folder's path and permissions"),
    (apsw.ReadOnlyError, "the store's file can not be written: check the data folder's permissions"),
    (apsw.PermissionsError, "the store's file can not be used: check the data folder's permissions"),
    (apsw.NotADBError, "the store's file is no database: restore it from a copy, or name another folder"),
    (apsw.CorruptError, "the store's file is damaged: restore it from a copy"),
    (apsw.IOError, "the disk failed: check it; what was not acknowledged may be sent again"),
    (apsw.NoMemError, "the host has no memory left: give it more, or send less at a time"),
    (apsw.Error, "the database refused: look at the cause"),
)


def explained(error: Exception) -> Exception:
    """The error to raise in `error`'s stead; what is no fault of disk or database stays as it is."""
    reason = _reason(error)
    if reason is not None:
        reason.__cause__ = error
        return reason
    return error


def _reason(error: Exception) -> StoreError | None:
    if isinstance(error, apsw.FullError) or (isinstance(error, OSError) and error.errno in _FULL):
        return StoreFull("the disk is full, nothing was kept: free some room, then send it again")
    if isinstance(error, OSError):
        return StoreUnavailable(f"the data folder can not be used ({error}): check its path and permissions")
    for kind, advice in _ADVICE:
        if isinstance(error, kind):
            return StoreUnavailable(f"{advice} ({error})")
    return None
