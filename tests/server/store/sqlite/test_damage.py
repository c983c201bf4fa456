"""Changes to the file that the store did not make are detected, and damaged values are never used."""

import asyncio
import random
import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from server.store.base import DamagedValue, SessionMissing, StaleCheckpoint, StoredCheckpoint, StoreError
from server.store.sqlite import SqliteStore
from server.store.sqlite.schema import FILE_NAME
from tests.server.store.samples import checkpoint, keep, key, record

pytestmark = pytest.mark.anyio

PIECES = (b"abcd", b"efgh", b"ijkl", b"mnop")
TEXT = b"".join(PIECES)


async def fill(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    for id in ("one", "two"):
        await store.create(record(id))
        for number, piece in enumerate(PIECES):
            await store.append(key(id), 4 * number, piece, at=2.0)
        await keep(store, key(id), checkpoint(1, 10), at=3.0)
        await keep(store, key(id), checkpoint(2, 14), at=3.0)
    await store.close()


@pytest.fixture(scope="module")
def sound_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sound")
    asyncio.run(fill(folder))
    return folder


@pytest.fixture
def folder(sound_folder: Path, tmp_path: Path) -> Path:
    """Two sessions of four pieces and two checkpoints each; the journal is trimmed up to 8."""
    return Path(shutil.copytree(sound_folder, tmp_path / "data"))


async def reopened(folder: Path, *statements: str) -> SqliteStore:
    """The store, opened after `statements` have changed its file, each at least one row."""
    direct = apsw.Connection(str(folder / FILE_NAME))
    for statement in statements:
        direct.execute(statement)
        assert direct.changes() > 0
    direct.close()
    return await SqliteStore.open(folder)


def flip(table: str, column: str, where: str) -> str:
    # SQLite cannot change one byte of a blob, but it can change a digit of its hexadecimal text.
    digits = f"hex({column})"
    other = f"CASE substr({digits}, -1) WHEN '0' THEN '1' ELSE '0' END"
    return (
        f"UPDATE {table} SET {column} = unhex(substr({digits}, 1, length({digits}) - 1) || {other}) "
        f"WHERE id = 'one' AND {where}"
    )


def swap(table: str, columns: str, where: str) -> str:
    """Copies columns of session 'two' to the same row of session 'one'."""
    return (
        f"UPDATE {table} SET ({columns}) = (SELECT {columns} FROM {table} AS other WHERE other.id = 'two' "
        f"AND other.{where}) WHERE id = 'one' AND {where}"
    )


@pytest.mark.parametrize(
    "change",
    [
        flip("session", "entry", "true"),
        flip("session", "seal", "true"),
        "UPDATE session SET created_at = 9.0 WHERE id = 'one'",
        "UPDATE session SET entry = CAST(entry AS TEXT) || ' ' WHERE id = 'one'",
        "UPDATE session SET (seal, entry) = (SELECT seal, entry FROM session WHERE id = 'two') WHERE id = 'one'",
    ],
)
async def test_every_operation_reports_a_damaged_record(folder: Path, change: str) -> None:
    store = await reopened(folder, change)
    for operation in (
        store.get(key("one")),
        store.append(key("one"), 16, b"x", at=4.0),
        store.journal(key("one"), 8, 9),
        keep(store, key("one"), checkpoint(3, 16), at=4.0),
        store.recover(key("one")),
        store.quarantine(key("one"), "why", at=4.0),
        store.list_sessions("acme", 9),
        store.list_sessions("acme", 9, after="one"),
    ):
        with pytest.raises(DamagedValue, match="the record of session 'one'"):
            await operation
    assert [found.key.id for found in await store.unread(0)] == ["two"]
    assert (await store.get(key("two"))).version == 2
    await store.delete(key("one"))
    assert [found.key.id for found in await store.list_sessions("acme", 9)] == ["two"]
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        flip("checkpoint", "value", "version = 2"),
        flip("checkpoint", "seal", "version = 2"),
        "UPDATE checkpoint SET (seal, value) = (SELECT seal, value FROM checkpoint "
        "WHERE id = 'one' AND version = 1) WHERE id = 'one' AND version = 2",
        swap("checkpoint", "seal, value", "version = 2"),
        "DELETE FROM checkpoint WHERE id = 'one' AND version = 2",
    ],
)
async def test_recovery_falls_back_from_a_damaged_newest_checkpoint_to_the_older_one(folder: Path, change: str) -> None:
    store = await reopened(folder, change)
    recovery = await store.recover(key("one"))
    assert recovery.checkpoints == (checkpoint(1, 10),)
    assert recovery.damaged == ("checkpoint 2 of session 'one' does not match its checksum",)
    assert recovery.journal_offset <= 10
    assert await store.journal(key("one"), 10, 99) == TEXT[10:]
    assert len((await store.recover(key("two"))).checkpoints) == 2
    await store.close()


@pytest.mark.parametrize(
    "other", [checkpoint(2, 12), replace(checkpoint(2, 14), info=checkpoint(2, 14).info._replace(tokens=8))]
)
async def test_a_checkpoint_of_an_earlier_session_of_the_same_name_is_not_returned(
    folder: Path, tmp_path: Path, other: StoredCheckpoint
) -> None:
    earlier = await SqliteStore.open(tmp_path / "earlier")
    await earlier.create(record("one"))
    await earlier.append(key("one"), 0, TEXT, at=2.0)
    await keep(earlier, key("one"), checkpoint(1, 10), at=3.0)
    await keep(earlier, key("one"), other, at=3.0)
    await earlier.close()
    store = await reopened(
        folder,
        f"ATTACH '{tmp_path}/earlier/{FILE_NAME}' AS earlier; UPDATE checkpoint SET (seal, value) = "
        "(SELECT seal, value FROM earlier.checkpoint WHERE version = 2) WHERE id = 'one' AND version = 2",
    )
    assert (await store.recover(key("one"))).checkpoints == (checkpoint(1, 10),)
    await store.close()


async def test_a_value_whose_type_changed_but_not_its_bytes_is_still_valid(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    expected = await answers(store)
    await store.close()
    columns = {"session": ("seal", "entry"), "piece": ("seal", "value"), "checkpoint": ("seal", "value")}
    columns |= {"repeat": ("seal", "digest")}
    store = await reopened(
        folder,
        *(
            f"UPDATE {table} SET {column} = CAST({column} AS TEXT)"
            for table, names in columns.items()
            for column in names
        ),
    )
    assert await answers(store) == expected
    await store.close()


@pytest.mark.parametrize("other", ["NULL", "'text'", "CAST(x'ff' AS TEXT)", "1.5"])
@pytest.mark.parametrize(
    ("table", "column", "where"),
    [
        ("session", "entry", "true"),
        ("session", "seal", "true"),
        ("session", "created_at", "true"),
        ("piece", "value", "offset = 8"),
        ("piece", "seal", "offset = 8"),
        ("piece", "offset", "offset = 8"),
        ("repeat", "digest", "offset = 0"),
        ("repeat", "seal", "offset = 0"),
        ("repeat", "length", "offset = 0"),
        ("checkpoint", "value", "version = 2"),
        ("checkpoint", "seal", "version = 2"),
    ],
)
async def test_a_value_of_another_type_is_reported_as_damaged(
    folder: Path, table: str, column: str, where: str, other: str
) -> None:
    # Damage does not respect the tables' constraints.
    allow = (
        "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = replace(sql, ' NOT NULL', '') "
        f"WHERE name = '{table}'; PRAGMA writable_schema = RESET;"
    )
    change = f"UPDATE {table} SET {column} = {other} WHERE id = 'one' AND {where}"
    store = await reopened(folder, f"{allow} {change}")
    found = await answers(store)
    await store.close()
    assert any(isinstance(answer, DamagedValue) or getattr(answer, "damaged", ()) for answer in found)
    assert all(isinstance(answer, StoreError) for answer in found if isinstance(answer, Exception))


async def test_recovery_has_no_checkpoint_when_both_are_damaged(folder: Path) -> None:
    store = await reopened(folder, flip("checkpoint", "value", "true"))
    recovery = await store.recover(key("one"))
    assert (recovery.checkpoints, len(recovery.damaged)) == ((), 2)
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        flip("piece", "value", "offset = 12"),
        flip("piece", "seal", "offset = 12"),
        swap("piece", "seal, value", "offset = 12"),
        "UPDATE piece SET (seal, value) = (SELECT seal, value FROM piece WHERE id = 'one' AND offset = 8) "
        "WHERE id = 'one' AND offset = 12",
        "UPDATE piece SET value = substr(value, 1, 3) WHERE id = 'one' AND offset = 12",
        "DELETE FROM piece WHERE id = 'one' AND offset = 12",
    ],
)
async def test_a_damaged_piece_is_reported_by_reads_and_by_appends_that_overlap_it(folder: Path, change: str) -> None:
    store = await reopened(folder, change)
    for operation in (
        store.journal(key("one"), 8, 99),
        store.journal(key("one"), 13, 1),
        store.append(key("one"), 10, b"klmnop", at=4.0),
        store.append(key("one"), 12, b"xxxx", at=4.0),
    ):
        with pytest.raises(DamagedValue, match=r"the journal of session 'one' at offset 1[23]"):
            await operation
    # The undamaged pieces around it can still be read.
    assert await store.journal(key("one"), 8, 4) == b"ijkl"
    assert await store.journal(key("two"), 8, 99) == b"ijklmnop"
    await store.close()


async def test_a_lost_piece_moves_the_journal_offset(folder: Path) -> None:
    store = await reopened(folder, "DELETE FROM piece WHERE id = 'one' AND offset = 8")
    recovery = await store.recover(key("one"))
    assert recovery.journal_offset == 12
    assert recovery.damaged == ("the journal of session 'one' has a gap before offset 12",)
    await store.close()


async def test_a_read_across_a_lost_piece_raises_instead_of_joining_its_neighbours(folder: Path) -> None:
    store = await SqliteStore.open(folder)
    await store.append(key("one"), 16, b"qrst", at=4.0)
    await store.close()
    store = await reopened(folder, "DELETE FROM piece WHERE id = 'one' AND offset = 12")
    with pytest.raises(DamagedValue, match="at offset 12"):
        await store.journal(key("one"), 8, 99)
    assert await store.journal(key("one"), 16, 99) == b"qrst"
    await store.close()


async def test_trimming_does_not_hide_a_lost_piece(folder: Path) -> None:
    store = await reopened(folder, "DELETE FROM piece WHERE id = 'one' AND offset = 12")
    await store.append(key("one"), 16, b"qrst", at=4.0)
    await keep(store, key("one"), checkpoint(3, 15), at=4.0)
    with pytest.raises(DamagedValue):
        await store.journal(key("one"), 14, 99)
    with pytest.raises(StaleCheckpoint):
        await store.journal(key("one"), 13, 99)
    await store.close()


@pytest.mark.parametrize(
    "change",
    [
        flip("repeat", "digest", "offset = 4"),
        flip("repeat", "seal", "offset = 4"),
        "UPDATE repeat SET length = 3 WHERE id = 'one' AND offset = 4",
        "UPDATE repeat SET (seal, digest) = (SELECT seal, digest FROM repeat WHERE id = 'one' AND offset = 0) "
        "WHERE id = 'one' AND offset = 4",
        swap("repeat", "seal, digest", "offset = 4"),
    ],
)
async def test_a_damaged_digest_is_reported_by_an_append_that_overlaps_it(folder: Path, change: str) -> None:
    store = await reopened(folder, change)
    for piece in (b"efgh", b"abcd"):
        with pytest.raises(DamagedValue, match="the digest of session 'one' at offset 4"):
            await store.append(key("one"), 4, piece, at=4.0)
    await store.close()


async def test_rows_left_by_a_lost_session_do_not_join_a_new_one(folder: Path) -> None:
    store = await reopened(folder, "DELETE FROM session WHERE id = 'one'")
    with pytest.raises(SessionMissing):
        await store.get(key("one"))
    await store.create(record("one"))
    for offset in (0, 8):
        await store.append(key("one"), offset, b"new text", at=4.0)
    await keep(store, key("one"), checkpoint(1, 4), at=4.0)
    recovery = await store.recover(key("one"))
    assert (recovery.checkpoints, recovery.damaged) == ((checkpoint(1, 4),), ())
    assert await store.journal(key("one"), 0, 99) == b"new textnew text"
    await store.close()


async def answers(store: SqliteStore) -> list[object]:
    """The results of all reads of both sessions, with the error in place of a result that failed."""
    operations = [
        operation
        for id in ("one", "two")
        for operation in (
            store.get(key(id)),
            store.journal(key(id), 8, 99),
            store.append(key(id), 0, b"abcdefgh", at=3.0),
        )
    ]
    recoveries = [store.recover(key(id)) for id in ("one", "two")]
    return [
        *await asyncio.gather(*operations, return_exceptions=True),
        *await asyncio.gather(*recoveries, return_exceptions=True),
    ]


async def test_no_flipped_bit_in_the_file_changes_an_answer(folder: Path, tmp_path: Path) -> None:
    store = await SqliteStore.open(folder)
    *expected, one, two = await answers(store)
    await store.close()
    sound = (folder / FILE_NAME).read_bytes()
    used = [place for place, byte in enumerate(sound) if byte]
    dice = random.Random(7)
    found = 0
    for round in range(80):
        copy = tmp_path / f"copy {round}"
        shutil.copytree(folder, copy)
        damaged = bytearray(sound)
        damaged[dice.choice(used)] ^= 1 << dice.randrange(8)
        (copy / FILE_NAME).write_bytes(damaged)
        try:
            store = await SqliteStore.open(copy)
        except StoreError:
            found += 1
            continue
        *values, first, second = await answers(store)
        with suppress(StoreError):
            assert {found.key for found in await store.unread(0)} <= {key("one"), key("two")}
        for value, right in zip(values, expected, strict=True):
            assert value == right or isinstance(value, StoreError)
        for recovery, whole in ((first, one), (second, two)):
            if not isinstance(recovery, StoreError):
                assert recovery.record == whole.record  # type: ignore[attr-defined]
                assert set(recovery.checkpoints) <= set(whole.checkpoints)  # type: ignore[attr-defined]
        found += any(isinstance(value, StoreError) for value in values)
        await store.close()
    # Not every bit changes an answer, but most of them do.
    assert found > 40
