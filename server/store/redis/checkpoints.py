"""Checkpoints in Redis: a memory is uploaded, and a script makes it the session's newest checkpoint.

The same script removes the checkpoints, the parts and the text that no kept memory needs.
"""

from dataclasses import replace
from functools import partial

from server.store import rules
from server.store.base import (
    CHECKPOINTS_KEPT,
    REPEATS_KEPT,
    DamagedValue,
    Lease,
    Recovery,
    StoredCheckpoint,
)
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.journal import Journal
from server.store.redis.leases import Leases
from server.store.redis.loans import Loans
from server.store.redis.memories import Memories, Uploaded
from server.store.redis.names import names


class Checkpoints:
    def __init__(self, records: Records, journal: Journal, memories: Memories, leases: Leases, loans: Loans) -> None:
        self._records, self._journal, self._memories, self._leases = records, journal, memories, leases
        self._loans = loans

    async def keep(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        key = lease.key
        uploaded: Uploaded | None = None
        while True:
            # The record is read again after the upload: an append meanwhile would only make the script fail.
            uploaded = await self._records.steadily(
                key, partial(self._upload, lease=lease, checkpoint=checkpoint, before=uploaded)
            )
            keep = partial(self._keep, lease=lease, checkpoint=checkpoint, uploaded=uploaded, at=at)
            if await self._records.steadily(key, keep):
                return

    async def _upload(
        self, found: Found, lease: Lease, checkpoint: StoredCheckpoint, before: Uploaded | None
    ) -> Uploaded:
        if not await self._leases.is_held(lease):
            raise rules.stale_lease(lease)
        rules.check_follows(found.entry.record, checkpoint)
        return await self._loans.prepare(found.entry, found.entry.record, checkpoint, before)

    async def _keep(
        self, found: Found, lease: Lease, checkpoint: StoredCheckpoint, uploaded: Uploaded, at: float
    ) -> bool:
        """Whether the uploaded memory became the newest checkpoint; False if another change came first."""
        entry, place = found.entry, names(lease.key)
        rules.check_follows(entry.record, checkpoint)
        rules.check_chain(await self._journal.chain_at(entry, checkpoint.offset), checkpoint)
        if not uploaded.fits(entry):
            return False
        left = (*entry.checkpoints, uploaded.stored.kept)[-CHECKPOINTS_KEPT:]
        journal_offset = entry.journal_offset
        if len(left) == CHECKPOINTS_KEPT:
            begin = rules.trimmed_to(entry.record, entry.journal_offset, left[0].info.offset)
            journal_offset = await self._journal.begin(entry, begin)
        moved = rules.trimmed_marks(rules.moved(entry.record, checkpoint, at), journal_offset)
        new = replace(entry, record=moved, journal_offset=journal_offset, checkpoints=left)
        change = await self._memories.settle(entry, new, uploaded.root)
        answer = await self._records.change(
            "checkpoint",
            [place.record, place.lease, place.journal, place.pieces, *uploaded.keys, *change.removed],
            found.sealed,
            self._records.seal(change.entry),
            lease.holder,
            lease.epoch,
            entry.journal_offset,
            journal_offset,
            REPEATS_KEPT,
            *uploaded.lengths,
        )
        if answer == b"lease":
            raise rules.stale_lease(lease)
        if not is_done(answer):
            return False
        await self._loans.give_back(lease.key.tenant, entry.pool, change.returned)
        return True

    async def recover(self, found: Found, count: int) -> Recovery:
        entry = found.entry
        sound: list[StoredCheckpoint] = []
        damaged: list[str] = []
        for kept in reversed(entry.checkpoints):
            if len(sound) == count:
                break
            try:
                sound.append(await self._memories.load(entry.record, kept))
            except DamagedValue as error:
                damaged.append(str(error))
        journal_offset = await self._journal.gapless_from(entry)
        if journal_offset > entry.journal_offset:
            damaged.append(f"the journal of session {entry.record.key.id!r} has a gap before offset {journal_offset}")
        if damaged and await self._records.sealed(entry.record.key) != found.sealed:
            raise DamagedValue("; ".join(damaged))
        return Recovery(entry.record, tuple(sound), journal_offset, tuple(damaged))
