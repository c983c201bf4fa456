"""Parts that forks share across slots: lent before the fork exists, and returned when it needs them no more.

A loan stands in the manifest of the session that stored the parts, or of the lender that stays of it. Each step is one
script in one slot; a server that dies between two of them leaves a loan that the sweep returns.
"""

import secrets
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace

from server.store import sharing
from server.store.base import (
    DamagedValue,
    Part,
    Pool,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    StoredCheckpoint,
    StoreError,
    StoreUnavailable,
)
from server.store.manifest import Loan, Manifest
from server.store.parts import Root
from server.store.redis.cas import Holder, Records, is_done
from server.store.redis.client import Link
from server.store.redis.index import UNLISTED_SECONDS, Indexes
from server.store.redis.memories import Memories, Place, Uploaded
from server.store.redis.names import names
from server.store.redis.parts import UNKEPT_SECONDS, Parts, stored_size

_BORROWED_CACHED_MAX = 1000


class Loans:
    def __init__(self, link: Link, records: Records, memories: Memories, parts: Parts, indexes: Indexes) -> None:
        self._link, self._records, self._indexes = link, records, indexes
        self._memories, self._parts = memories, parts
        # What forks have borrowed, by tenant, borrower and pool: it never changes.
        self._borrowed: dict[tuple[str, Pool, Pool], Root] = {}

    async def lend(self, tenant: str, borrower: Pool, root: Root) -> None:
        """Lends a fork the parts that its first memory has in other pools; `StoreUnavailable` if some are gone."""
        for pool in sharing.borrowed(root, borrower):
            lent = sharing.lent(root, pool)
            # Before the loan, so that the sweep finds it.
            await self._indexes.may_lend(tenant, pool)
            while not await self._lend(tenant, pool, borrower, lent):
                pass

    async def _lend(self, tenant: str, pool: Pool, borrower: Pool, lent: Root) -> bool:
        """Whether the pool lends these parts now; False if another change came first."""
        holder = await self._records.holder(tenant, pool)
        if holder is None:
            raise StoreUnavailable(f"session {pool.id!r} was deleted meanwhile: send it again")
        entry, loan = holder.entry, sharing.loan(borrower, time.time(), lent, secrets.token_hex(8))
        at = names(entry.record.key).loan(pool.lineage, loan.kept.attempt)
        place = Place(at, sharing.lender(tenant, pool, ()).record, loan.kept)
        lengths = await self._memories.upload_at(place, lent.encode())
        lending = replace(entry, lent=(*entry.lent, loan))
        change = await self._memories.settle(entry, lending, {loan.kept.attempt: lent})
        keys = [holder.name, at, *(self._parts.key(tenant, pool, part.digest) for part in lent.parts)]
        sizes = (len(lengths), *lengths, *map(stored_size, lent.parts))
        sealed = self._seal(holder, change.entry)
        return is_done(await self._records.change("snapshot", keys, holder.sealed, sealed, *sizes))

    async def are_held(self, tenant: str, borrower: Pool, pools: Iterable[Pool]) -> bool:
        """Whether all of these pools lend to the borrower."""
        for pool in pools:
            holder = await self._records.holder(tenant, pool)
            if holder is None or _loan(holder.entry, borrower) is None:
                return False
        return True

    async def prepare(
        self,
        entry: Manifest,
        record: SessionRecord,
        checkpoint: StoredCheckpoint,
        before: Uploaded | None,
        more: Mapping[str, Root] | None = None,
    ) -> Uploaded:
        """A memory of this session, uploaded but for the parts that the session has or has borrowed.

        `more` are roots, by their attempts, of memories that the same script keeps.
        """
        roots = await self._memories.roots(entry)
        known = {kept.attempt: roots[kept.attempt] for kept in entry.memories if kept.attempt in roots}
        known |= more or {}
        borrowed = await self.borrowed(entry, checkpoint.parts, known.values())
        return await self._memories.prepare(record, checkpoint, known, borrowed, before)

    async def borrowed(self, entry: Manifest, parts: Iterable[Part], known: Iterable[Root]) -> list[Root]:
        """What the session has borrowed, if the `known` roots of its memories do not name all of the parts."""
        digests = {part.digest for root in known for part in root.parts}
        if not entry.borrowed or all(part.digest in digests for part in parts):
            return []
        found = [await self._borrowed_from(entry, pool) for pool in entry.borrowed]
        return [root for root in found if root is not None]

    async def _borrowed_from(self, entry: Manifest, pool: Pool) -> Root | None:
        tenant, place = entry.record.key.tenant, (entry.record.key.tenant, entry.pool, pool)
        if place not in self._borrowed:
            with suppress(DamagedValue):
                holder = await self._records.holder(tenant, pool)
                loan = holder and _loan(holder.entry, entry.pool)
                if holder and loan:
                    roots = await self._memories.roots(holder.entry)
                    self._borrowed[place] = roots.get(loan.kept.attempt, Root(b""))
                    if len(self._borrowed) > _BORROWED_CACHED_MAX:
                        del self._borrowed[next(iter(self._borrowed))]
        return self._borrowed.get(place)

    async def give_back(self, tenant: str, borrower: Pool, pools: Iterable[Pool]) -> None:
        """Returns the borrower's loans; what fails now is left to the sweep."""
        for pool in pools:
            self._borrowed.pop((tenant, borrower, pool), None)
            with suppress(StoreError):
                holder = await self._records.holder(tenant, pool)
                while holder is not None and not await self._return(holder, {borrower}):
                    holder = await self._records.holder(tenant, pool)

    async def _return(self, holder: Holder, borrowers: set[Pool]) -> bool:
        """Whether these borrowers have no loan any more; False if another change came first."""
        entry, tenant = holder.entry, holder.entry.record.key.tenant
        left = replace(entry, lent=tuple(loan for loan in entry.lent if loan.borrower not in borrowers))
        if left == entry:
            return True
        change = await self._memories.settle(entry, left)
        if not holder.is_lender or left.lent:
            keys, sealed = [holder.name, *change.removed], self._seal(holder, change.entry)
            return is_done(await self._records.change("replace", keys, holder.sealed, sealed))
        keys = [holder.name, names(entry.record.key).tombstone, holder.name, *change.removed]
        if not await self._link.change("forget", keys, holder.sealed, 0, ""):
            return False
        await self._indexes.remove_lender(tenant, entry.pool)
        return True

    async def sweep(self, at: float) -> None:
        """Returns loans older than UNKEPT_SECONDS whose borrower does not exist, or needs them no more."""
        while listed := await self._indexes.lending(at):
            for tenant, pool, score in listed:
                try:
                    lends = await self._sweep(tenant, pool, at)
                except DamagedValue:
                    lends = True
                if lends:
                    await self._indexes.lends(tenant, pool, at)
                else:
                    await self._indexes.remove_lending(tenant, pool, score)

    async def _sweep(self, tenant: str, pool: Pool, at: float) -> bool:
        """Whether the pool still lends."""
        while (holder := await self._records.holder(tenant, pool)) is not None:
            # Read after the holder: a fork that is created meanwhile has changed it, and the return is refused.
            old = [loan for loan in holder.entry.lent if loan.at <= at - UNKEPT_SECONDS]
            over = {loan.borrower for loan in old if not await self._needs(tenant, loan.borrower, pool)}
            if await self._return(holder, over):
                return len(over) < len(holder.entry.lent)
        return False

    async def _needs(self, tenant: str, borrower: Pool, pool: Pool) -> bool:
        try:
            entry = (await self._records.load(SessionKey(tenant, borrower.id))).entry
        except (SessionMissing, SessionExpired):
            return False
        except DamagedValue:
            return True
        return entry.pool == borrower and pool in entry.borrowed

    async def stored_bytes(self, tenant: str) -> int:
        """The bytes of the parts that the tenant's lenders have."""
        total = 0
        for pool, listed_at in await self._indexes.lenders(tenant):
            with suppress(DamagedValue):
                holder = await self._records.holder(tenant, pool)
                if holder is not None and holder.is_lender:
                    total += holder.entry.stored_bytes
                elif listed_at < time.time() - UNLISTED_SECONDS:
                    await self._indexes.remove_lender(tenant, pool, listed_at)
        return total

    def _seal(self, holder: Holder, entry: Manifest) -> bytes:
        return self._records.seal_lender(entry) if holder.is_lender else self._records.seal(entry)


def _loan(entry: Manifest, borrower: Pool) -> Loan | None:
    return next((loan for loan in entry.lent if loan.borrower == borrower), None)
