"""Every error of disk and database becomes one of the contract's, with a message that says what to do."""

import errno

import apsw
import pytest

from server.store.base import ContentConflict, StoreFull, StoreUnavailable
from server.store.sqlite.errors import explained


@pytest.mark.parametrize(
    "error", [apsw.FullError("full"), OSError(errno.ENOSPC, "full"), OSError(errno.EDQUOT, "quota")]
)
def test_a_full_disk_becomes_store_full(error: Exception) -> None:
    reason = explained(error)
    assert isinstance(reason, StoreFull)
    assert "free some space" in str(reason)
    assert reason.__cause__ is error


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (apsw.BusyError("why"), "close that program"),
        (apsw.CantOpenError("why"), "check the data folder"),
        (apsw.ReadOnlyError("why"), "check the data folder"),
        (apsw.PermissionsError("why"), "check the data folder"),
        (apsw.NotADBError("why"), "restore it from a backup"),
        (apsw.CorruptError("why"), "restore it from a backup"),
        (apsw.IOError("why"), "the disk failed: check it"),
        (apsw.NoMemError("why"), "give it more"),
        (apsw.SQLError("why"), "see the cause"),
        (PermissionError(errno.EACCES, "why"), "check its path and permissions"),
    ],
)
def test_other_disk_and_database_errors_become_store_unavailable(error: Exception, advice: str) -> None:
    reason = explained(error)
    assert isinstance(reason, StoreUnavailable)
    assert advice in str(reason)
    assert "why" in str(reason)
    assert reason.__cause__ is error


@pytest.mark.parametrize("error", [ContentConflict(3), ValueError("limit")])
def test_errors_that_are_not_of_disk_or_database_stay_as_they_are(error: Exception) -> None:
    assert explained(error) is error
