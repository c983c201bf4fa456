"""The rows of loans, and of lenders: what stays of a session that was deleted while forks needed parts of it.

A loan's row has all that the lender's manifest says of it, so a lender whose manifest is damaged can be made again.
"""

from typing import Any

import apsw

from server.store.base import NOTHING_READ, DamagedValue, SessionKey
from server.store.manifest import KeptCheckpoint, Loan, Manifest, decode
from server.store.parts import Pool, Root
from server.store.sqlite.checksum import checksum, matches

_PLACE = "tenant = ? AND id = ? AND lineage = ?"


def add_loan(connection: apsw.Connection, tenant: str, pool: Pool, loan: Loan, value: bytes) -> None:
    connection.execute(
        "REPLACE INTO loan (tenant, id, lineage, borrower, borrower_lineage, at, parts, seal, value) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (tenant, *pool, *loan.borrower, loan.at, loan.kept.parts, _loan_checksum(tenant, pool, loan, value), value),
    )


def remove_loan(connection: apsw.Connection, tenant: str, pool: Pool, borrower: Pool) -> None:
    connection.execute(
        f"DELETE FROM loan WHERE {_PLACE} AND borrower = ? AND borrower_lineage = ?", (tenant, *pool, *borrower)
    )


def has_loan(connection: apsw.Connection, tenant: str, pool: Pool, borrower: Pool) -> bool:
    found = connection.execute(
        f"SELECT 1 FROM loan WHERE {_PLACE} AND borrower = ? AND borrower_lineage = ?", (tenant, *pool, *borrower)
    ).fetchone()
    return found is not None


def loan_root(connection: apsw.Connection, tenant: str, pool: Pool, borrower: Pool) -> Root | None:
    """The root of the parts that this pool lends to the borrower; None where it is damaged or missing."""
    place = (tenant, *pool, *borrower)
    for loan, stored_checksum, value in _loans(
        connection, f"{_PLACE} AND borrower = ? AND borrower_lineage = ?", place
    ):
        if stored_checksum == _loan_checksum(tenant, pool, loan, value):
            return loan.kept.root(value)
    return None


def loans(connection: apsw.Connection, tenant: str, pool: Pool) -> list[Loan]:
    """The loans of this pool, as their rows say."""
    return [loan for loan, _, _ in _loans(connection, _PLACE, (tenant, *pool))]


def borrowings(connection: apsw.Connection, key: SessionKey) -> list[tuple[Pool, Pool]]:
    """Lender and borrower of each loan to a session of this name."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(id AS BLOB), CAST(lineage AS BLOB), CAST(borrower_lineage AS BLOB) FROM loan "
        "WHERE tenant = ? AND borrower = ?",
        key,
    ).fetchall()
    texts = [[text.decode(errors="replace") for text in row] for row in rows]
    return [(Pool(id, lineage), Pool(key.id, borrower_lineage)) for id, lineage, borrower_lineage in texts]


def orphaned(connection: apsw.Connection) -> list[tuple[str, Pool, Pool]]:
    """Tenant, lender and borrower of each loan to a session of a name that no session has."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(tenant AS BLOB), CAST(id AS BLOB), CAST(lineage AS BLOB), CAST(borrower AS BLOB), "
        "CAST(borrower_lineage AS BLOB) FROM loan WHERE NOT EXISTS "
        "(SELECT 1 FROM session WHERE session.tenant = loan.tenant AND session.id = loan.borrower)"
    ).fetchall()
    texts = [[text.decode(errors="replace") for text in row] for row in rows]
    return [
        (tenant, Pool(id, lineage), Pool(borrower, borrower_lineage))
        for tenant, id, lineage, borrower, borrower_lineage in texts
    ]


def save_lender(connection: apsw.Connection, manifest: Manifest) -> None:
    value, place = manifest.encode(), (manifest.record.key.tenant, *manifest.pool)
    connection.execute(
        "REPLACE INTO lender (tenant, id, lineage, stored_bytes, seal, entry) VALUES (?, ?, ?, ?, ?, ?)",
        (*place, manifest.stored_bytes, _checksum(*place, value), value),
    )


def load_lender(connection: apsw.Connection, tenant: str, pool: Pool) -> Manifest | None:
    """The lender's manifest, None if there is no lender; `DamagedValue`."""
    row: tuple[Any, Any] | None = connection.execute(
        f"SELECT CAST(seal AS BLOB), CAST(entry AS BLOB) FROM lender WHERE {_PLACE}", (tenant, *pool)
    ).fetchone()
    if row is None:
        return None
    if not matches(row[0], "lender", SessionKey(tenant, pool.id), (pool.lineage,), row[1]):
        raise DamagedValue(f"the record of what the deleted session {pool.id!r} lends")
    return decode(row[1])


def has_lender(connection: apsw.Connection, tenant: str, pool: Pool) -> bool:
    found = connection.execute(f"SELECT 1 FROM lender WHERE {_PLACE}", (tenant, *pool)).fetchone()
    return found is not None


def remove_lender(connection: apsw.Connection, tenant: str, pool: Pool) -> None:
    connection.execute(f"DELETE FROM lender WHERE {_PLACE}", (tenant, *pool))


def stored_bytes(connection: apsw.Connection, tenant: str) -> int:
    """The sum of the hints of a tenant's lenders."""
    found: int | None = connection.execute("SELECT sum(stored_bytes) FROM lender WHERE tenant = ?", (tenant,)).get
    return found or 0


def renew_hints(connection: apsw.Connection) -> None:
    """Recomputes every lender's hint from its manifest; that of a damaged lender becomes NULL."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT rowid, CAST(tenant AS BLOB), CAST(id AS BLOB), CAST(lineage AS BLOB), CAST(seal AS BLOB), "
        "CAST(entry AS BLOB) FROM lender"
    ).fetchall()
    hints = []
    for rowid, *place, stored_checksum, value in rows:
        tenant, id, lineage = ((text or b"").decode(errors="replace") for text in place)
        sound = matches(stored_checksum, "lender", SessionKey(tenant, id), (lineage,), value)
        hints.append((rowid, decode(value).stored_bytes if sound else None))
    connection.executemany(
        "UPDATE lender SET stored_bytes = ?2 WHERE rowid = ?1 AND stored_bytes IS NOT ?2",
        hints,
    )


def _loans(connection: apsw.Connection, condition: str, place: tuple[str, ...]) -> list[tuple[Loan, object, bytes]]:
    """Each loan that is found as its row says, with the row's checksum and value."""
    rows: list[tuple[Any, ...]] = connection.execute(
        "SELECT CAST(borrower AS BLOB), CAST(borrower_lineage AS BLOB), CAST(at AS REAL), CAST(parts AS INTEGER), "
        f"CAST(seal AS BLOB), coalesce(CAST(value AS BLOB), x'') FROM loan WHERE {condition}",
        place,
    ).fetchall()
    found = []
    for borrower, borrower_lineage, at, parts, stored_checksum, value in rows:
        pool = Pool(borrower.decode(errors="replace"), borrower_lineage.decode(errors="replace"))
        found.append((Loan(pool, at, KeptCheckpoint(NOTHING_READ, "", len(value), parts)), stored_checksum, value))
    return found


def _loan_checksum(tenant: str, pool: Pool, loan: Loan, value: bytes) -> bytes:
    return checksum("loan", SessionKey(tenant, pool.id), (pool.lineage, *loan.place), value)


def _checksum(tenant: str, id: str, lineage: str, value: bytes) -> bytes:
    return checksum("lender", SessionKey(tenant, id), (lineage,), value)
