"""What a change of a session's memories means for the rows of parts, of loans and of lenders."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import apsw

from server.store import sharing
from server.store.base import DamagedValue, Pool, SessionKey, SessionMissing, SessionRecord, StoredCheckpoint
from server.store.manifest import KeptCheckpoint, Manifest, pool_of
from server.store.parts import Root, parts_bytes
from server.store.sqlite import blobs, lenders, parts, sessions


class Kept(NamedTuple):
    """A memory whose parts are stored: how the manifest names it, and its root as bytes, which are to be stored."""

    kept: KeptCheckpoint
    value: bytes


def keep_parts(connection: apsw.Connection, manifest: Manifest, checkpoint: StoredCheckpoint) -> Kept:
    """Stores the parts of a memory that neither the session's memories nor what it borrows has."""
    stored = sharing.stored(checkpoint, manifest.pool, _known(connection, manifest))
    parts.add(connection, manifest.record.key.tenant, manifest.pool, stored.new)
    return Kept(stored.kept, stored.value)


def begin(
    connection: apsw.Connection, record: SessionRecord, first: StoredCheckpoint, source: SessionKey | None
) -> tuple[Manifest, Kept]:
    """The manifest of a new session that begins with a memory; what the source has of it is lent to the session."""
    known = [] if source is None else _known(connection, sessions.load(connection, source))
    pool, tenant = pool_of(record), record.key.tenant
    stored = sharing.stored(first, pool, known)
    parts.add(connection, tenant, pool, stored.new)
    borrowed = sharing.borrowed(stored.root, pool)
    for other in borrowed:
        _lend(connection, tenant, other, pool, record.created_at, sharing.lent(stored.root, other))
    manifest = Manifest(
        record,
        record.accepted_bytes,
        (stored.kept,),
        borrowed=borrowed,
        parts_bytes=parts_bytes([stored.root], pool),
    )
    return manifest, Kept(stored.kept, stored.value)


def save(connection: apsw.Connection, before: Sequence[Root], changed: Manifest) -> None:
    """Saves a manifest whose memories have changed; `before` are the roots of before the change (`roots`)."""
    settled = _settle(connection, before, changed)
    sessions.save(connection, settled.manifest)
    for pool in settled.returned:
        _give_back(connection, changed.record.key.tenant, pool, changed.pool)


def roots(connection: apsw.Connection, manifest: Manifest) -> list[Root]:
    """The undamaged roots of a session's memories and loans, or of a lender's loans."""
    lent = _lent(connection, manifest)
    return [*blobs.roots(connection, manifest), *(root for root in lent if root is not None)]


def forget(connection: apsw.Connection, key: SessionKey) -> None:
    """Deletes the parts of a session that is to be deleted, but for those that it lends; returns what it borrows."""
    for pool, borrower in lenders.borrowings(connection, key):
        _give_back(connection, key.tenant, pool, borrower)
    manifest = sessions.perhaps(connection, key)
    if manifest is not None and manifest.lent:
        before = roots(connection, manifest)
        lender = sharing.lender(key.tenant, manifest.pool, manifest.lent)
        lenders.save_lender(connection, _settle(connection, before, lender).manifest)
    for pool in parts.pools_of(connection, key):
        if lenders.has_lender(connection, key.tenant, pool):
            continue
        # Where the record of the session or of an earlier one of its name is damaged, its loans say what has to stay.
        has_record = manifest is not None and manifest.pool == pool
        loans = [] if has_record else lenders.loans(connection, key.tenant, pool)
        if loans:
            lender = sharing.lender(key.tenant, pool, loans)
            lenders.save_lender(connection, _settle(connection, [], lender).manifest)
        else:
            parts.remove_pool(connection, key.tenant, pool)


def return_orphaned(connection: apsw.Connection) -> None:
    """Returns the loans to sessions that do not exist, whose rows were lost to damage."""
    for tenant, pool, borrower in lenders.orphaned(connection):
        _give_back(connection, tenant, pool, borrower)


def may_load(connection: apsw.Connection, key: SessionKey, pools: set[Pool]) -> bool:
    """Whether parts in these pools belong to the session, or are lent to it."""
    manifest = sessions.load(connection, key)
    return all(
        pool == manifest.pool
        or (sharing.may_load(manifest, pool) and lenders.has_loan(connection, key.tenant, pool, manifest.pool))
        for pool in pools
    )


def _known(connection: apsw.Connection, manifest: Manifest) -> list[Root]:
    """The roots of a session's memories and of what it borrows."""
    tenant = manifest.record.key.tenant
    borrowed = (lenders.loan_root(connection, tenant, pool, manifest.pool) for pool in manifest.borrowed)
    return [*blobs.roots(connection, manifest), *(root for root in borrowed if root is not None)]


def _lent(connection: apsw.Connection, manifest: Manifest) -> list[Root | None]:
    tenant, pool = manifest.record.key.tenant, manifest.pool
    return [lenders.loan_root(connection, tenant, pool, loan.borrower) for loan in manifest.lent]


def _settle(connection: apsw.Connection, before: Sequence[Root], changed: Manifest) -> sharing.Settled:
    """Deletes the parts that a change frees."""
    memories, lent = blobs.roots(connection, changed), _lent(connection, changed)
    settled = sharing.settled(changed, before, memories, lent)
    parts.remove(connection, changed.record.key.tenant, changed.pool, settled.freed)
    return settled


def _lend(connection: apsw.Connection, tenant: str, pool: Pool, borrower: Pool, at: float, root: Root) -> None:
    owner = _owner(connection, tenant, pool)
    if owner is None:
        raise SessionMissing(f"session {pool.id!r}, whose parts are needed, does not exist: fork another one")
    loan = sharing.loan(borrower, at, root)
    lenders.add_loan(connection, tenant, pool, loan, root.encode())
    _save_owner(connection, replace(owner, lent=(*owner.lent, loan)))


def _give_back(connection: apsw.Connection, tenant: str, pool: Pool, borrower: Pool) -> None:
    owner = _owner(connection, tenant, pool)
    before = [] if owner is None else roots(connection, owner)
    lenders.remove_loan(connection, tenant, pool, borrower)
    if owner is not None:
        left = sharing.without_loan(owner, borrower)
        _save_owner(connection, _settle(connection, before, left).manifest)


def _owner(connection: apsw.Connection, tenant: str, pool: Pool) -> Manifest | None:
    """The undamaged manifest of the session whose pool this is, or of what stays of it."""
    manifest = sessions.perhaps(connection, SessionKey(tenant, pool.id))
    if manifest is not None and manifest.pool == pool:
        return manifest
    with suppress(DamagedValue):
        if lender := lenders.load_lender(connection, tenant, pool):
            return lender
    # Where the lender's own row is damaged or lost, the rows of its loans say the same.
    loans = lenders.loans(connection, tenant, pool)
    return sharing.lender(tenant, pool, loans) if loans else None


def _save_owner(connection: apsw.Connection, manifest: Manifest) -> None:
    tenant, pool = manifest.record.key.tenant, manifest.pool
    # A lender has no weights: its record is made from its pool alone.
    if manifest.record.fingerprint:
        sessions.save(connection, manifest)
    elif manifest.lent:
        lenders.save_lender(connection, manifest)
    else:
        lenders.remove_lender(connection, tenant, pool)
        parts.remove_pool(connection, tenant, pool)
