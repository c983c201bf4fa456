"""Damage to the rows by which forks share parts: no fork loses a part, and nothing stays that nobody needs."""

from dataclasses import replace

import apsw
import pytest

from server.store.base import DamagedValue, SessionKey
from server.store.sqlite import SqliteStore
from tests.server.store.samples import beginning, contents, in_parts, key, read, record
from tests.server.store.test_parts import FORK, A, B, begun, fork

pytestmark = pytest.mark.anyio
TABLES = ("session", "checkpoint", "part", "loan", "lender")


async def damage(store: SqliteStore, statement: str) -> None:
    await store.writer.run(lambda connection: connection.execute(statement).fetchall())


async def rows(store: SqliteStore) -> dict[str, int]:
    def count(connection: apsw.Connection) -> dict[str, int]:
        return {table: connection.execute(f"SELECT count(*) FROM {table}").get for table in TABLES}

    return {table: found for table, found in (await store.writer.run(count)).items() if found}


async def test_a_repaired_hint_does_not_bring_a_returned_loan_back(sqlite: SqliteStore) -> None:
    memory = in_parts(read(b"once read", 1), A, B)
    lasting = replace(beginning(record(), memory), lineage="1", ttl_seconds=90.0, expires_at=99.0)
    await sqlite.create(lasting, memory)
    mortal = replace(beginning(record("fork"), memory), lineage="2", ttl_seconds=1.0, expires_at=2.0)
    await sqlite.create(mortal, memory, key())
    await damage(sqlite, "UPDATE session SET expires_at = 1.0 WHERE id = 'book'")
    assert await sqlite.expire(3.0) == [FORK]
    await sqlite.delete(key())
    assert await rows(sqlite) == {}


async def test_a_fork_keeps_its_parts_where_the_row_of_its_loan_was_lost(sqlite: SqliteStore) -> None:
    memory = await begun(sqlite, A, B)
    await fork(sqlite, memory, key())
    await sqlite.keep_snapshot(key(), "mark", "1", memory, at=2.0)
    await damage(sqlite, "DELETE FROM loan")
    await sqlite.drop_snapshot(key(), "mark")
    await sqlite.delete(key())
    assert (await rows(sqlite))["part"] == 2
    [found] = (await sqlite.recover(FORK)).checkpoints
    # The loan that would say that these parts are the fork's is lost: found, and not served.
    with pytest.raises(DamagedValue):
        await contents(sqlite, FORK, found)


async def test_the_loan_of_a_fork_whose_row_was_lost_is_returned_by_the_sweep(sqlite: SqliteStore) -> None:
    memory = await begun(sqlite, A, B)
    await fork(sqlite, memory, key())
    await sqlite.delete(key())
    await damage(sqlite, "DELETE FROM session WHERE id = 'fork'")
    await sqlite.expire(3.0)
    assert await rows(sqlite) == {"checkpoint": 1}
    await sqlite.create(replace(record("fork"), lineage="3"))
    await sqlite.delete(FORK)
    assert await rows(sqlite) == {}


@pytest.mark.parametrize("statement", ["UPDATE lender SET entry = x'00'", "DELETE FROM lender"])
async def test_parts_are_freed_with_the_last_fork_where_the_lender_was_damaged(
    sqlite: SqliteStore, statement: str
) -> None:
    memory = await begun(sqlite, A, B)
    await fork(sqlite, memory, key())
    await sqlite.delete(key())
    await damage(sqlite, statement)
    [found] = (await sqlite.recover(FORK)).checkpoints
    assert await contents(sqlite, FORK, found) == [A, B]
    await sqlite.delete(FORK)
    assert await rows(sqlite) == {}


async def test_a_new_session_of_the_lenders_name_takes_nothing_from_forks_when_it_is_deleted(
    sqlite: SqliteStore,
) -> None:
    memory = await begun(sqlite, A, B)
    await fork(sqlite, memory, key())
    await sqlite.delete(key())
    await sqlite.create(replace(record(), lineage="3"))
    await damage(sqlite, "DELETE FROM lender")
    await sqlite.delete(key())
    [found] = (await sqlite.recover(FORK)).checkpoints
    assert await contents(sqlite, FORK, found) == [A, B]
    await sqlite.delete(FORK)
    assert await rows(sqlite) == {}


@pytest.mark.parametrize(
    ("statement", "served"),
    [
        ("DELETE FROM part WHERE length(value) = 1000", False),
        ("UPDATE part SET value = substr(value, 2)", False),
        ("UPDATE part SET value = x'01' || substr(value, 2)", False),
        ("UPDATE part SET value = (SELECT value FROM part AS other WHERE other.id = 'other') WHERE id = 'book'", False),
        ("UPDATE part SET value = value", True),
    ],
)
async def test_a_damaged_part_is_found_and_not_served(sqlite: SqliteStore, statement: str, served: bool) -> None:
    await begun(sqlite, A, B)
    other = in_parts(read(b"once read", 1), b"c" * 1000)
    await sqlite.create(replace(beginning(record("other"), other), lineage="2"), other)
    await damage(sqlite, statement)
    [found] = (await sqlite.recover(key())).checkpoints
    if served:
        assert await contents(sqlite, key(), found) == [A, B]
    else:
        with pytest.raises(DamagedValue):
            await contents(sqlite, key(), found)


async def test_a_root_that_names_the_parts_of_a_session_that_did_not_lend_them_is_not_served(
    sqlite: SqliteStore,
) -> None:
    await begun(sqlite, A, B)
    other = in_parts(read(b"once read", 1), A)
    await sqlite.create(replace(beginning(record("other"), other), lineage="2"), other)
    [found] = (await sqlite.recover(key())).checkpoints
    with pytest.raises(DamagedValue):
        await contents(sqlite, SessionKey("acme", "other"), found)
