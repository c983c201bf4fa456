"""Pure rules for memories in parts: what a change of a session's memories means for its parts and its loans.

A session keeps the parts that its memories name and those that it has lent. A fork names parts in other sessions'
pools: each of those sessions has a loan for it, with a root of its own, so the parts stay when the session's own
memories are gone. A session that is deleted while it lends leaves a lender: a manifest with loans and nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from server.store.manifest import KeptCheckpoint, Loan, Manifest
from server.store.parts import Part, Pool, Root, freed, named, parts_bytes, placed, pools
from server.store.values import NOTHING_READ, SessionKey, SessionRecord, StoredCheckpoint


class Stored(NamedTuple):
    """A memory as it is stored: its root, the root's bytes, how the manifest names it, and the parts to store first."""

    root: Root
    value: bytes
    kept: KeptCheckpoint
    new: tuple[Part, ...]


def stored(checkpoint: StoredCheckpoint, pool: Pool, known: Iterable[Root], attempt: str = "") -> Stored:
    """How a session with this pool stores a memory, given the roots of all its memories and of what it borrows.

    For a fork `known` are the source's roots: those of its memories and of what it borrows.
    """
    parts, new = placed(checkpoint.parts, pool, known)
    root = Root(checkpoint.value, parts)
    value = root.encode()
    return Stored(root, value, KeptCheckpoint(checkpoint.info, attempt, len(value), len(parts)), new)


class Settled(NamedTuple):
    """What follows from a change of memories or loans: the manifest, the parts to delete, the loans to return.

    `returned` are pools whose parts the session needs no more: `returned_by` is what it means for their sessions.
    """

    manifest: Manifest
    freed: tuple[Part, ...]
    returned: tuple[Pool, ...]


def settled(
    manifest: Manifest, before: Iterable[Root], memories: Sequence[Root], lent: Sequence[Root | None]
) -> Settled:
    """What follows when `manifest` has new memories or loans, but still the former `borrowed` and `parts_bytes`.

    `before` are the roots of memories and loans before the change, `memories` and `lent` those after it. The roots of
    damaged memories are left out. That of a damaged loan is None: then nothing is freed, since a fork may need it.
    """
    pool, before = manifest.pool, list(before)
    left = [*memories, *(root for root in lent if root is not None)]
    if None in lent:
        left += before
    needed = pools(memories)
    returned = tuple(other for other in manifest.borrowed if other not in needed)
    changed = replace(
        manifest,
        borrowed=tuple(other for other in manifest.borrowed if other in needed),
        parts_bytes=parts_bytes(left, pool),
    )
    return Settled(changed, tuple(freed(before, left, pool)), returned)


def borrowed(root: Root, pool: Pool) -> tuple[Pool, ...]:
    """The other pools in which a fork's first memory has parts: each of them lends them to the fork."""
    return tuple(dict.fromkeys(part.pool for part in root.parts if part.pool != pool))


def lent(root: Root, pool: Pool) -> Root:
    """The root of a loan: the parts of this pool that a fork's first memory names."""
    return Root(b"", tuple(named([root], pool).values()))


def loan(borrower: Pool, at: float, root: Root, attempt: str = "") -> Loan:
    """A loan with the root that `lent` gave. Loans change neither the lender's parts nor their bytes."""
    return Loan(borrower, at, KeptCheckpoint(NOTHING_READ, attempt, len(root.encode()), len(root.parts)))


def without_loan(manifest: Manifest, borrower: Pool) -> Manifest:
    """The lender's manifest after this borrower's loan was returned, not settled yet."""
    return replace(manifest, lent=tuple(each for each in manifest.lent if each.borrower != borrower))


def lender(tenant: str, pool: Pool, loans: Sequence[Loan]) -> Manifest:
    """What stays of a session that is deleted or expires while it lends, not settled yet: no text, no metadata."""
    record = SessionRecord(SessionKey(tenant, pool.id), 0.0, 0.0, "", "", lineage=pool.lineage)
    return Manifest(record, 0, lent=tuple(loans))


def may_load(manifest: Manifest, pool: Pool) -> bool:
    """Whether the session may have parts in this pool, by its own manifest: the lender's must have its loan, too."""
    return pool == manifest.pool or pool in manifest.borrowed
