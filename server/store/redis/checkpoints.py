"""Checkpoints in Redis: a memory becomes the session's newest in one step, and the journal goes that it covers.

It knows what a checkpoint must follow from, and neither what a memory is nor how its parts are sealed.
"""

import secrets
from dataclasses import replace
from functools import partial

from server.store import rules
from server.store.base import CHECKPOINTS_KEPT, REPEATS_KEPT, DamagedValue, Lease, Recovery, StoredCheckpoint
from server.store.manifest import KeptCheckpoint
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.journal import Journal
from server.store.redis.leases import Leases
from server.store.redis.memories import Memories
from server.store.redis.names import names


class Checkpoints:
    def __init__(self, records: Records, journal: Journal, memories: Memories, leases: Leases) -> None:
        self._records, self._journal, self._memories, self._leases = records, journal, memories, leases

    async def keep(self, lease: Lease, checkpoint: StoredCheckpoint, at: float) -> None:
        key, kept = lease.key, KeptCheckpoint.of(checkpoint, secrets.token_hex(8))
        record = (await self._records.load(key)).entry.record
        lengths: list[int] | None = None
        while True:
            if not await self._leases.is_held(lease):
                raise rules.stale_lease(lease)
            rules.check_follows(record, checkpoint)
            if lengths is None:
                lengths = await self._memories.upload(record, kept, checkpoint.value)
            keep = partial(self._keep, lease=lease, kept=kept, checkpoint=checkpoint, lengths=lengths, at=at)
            if await self._records.steadily(key, keep):
                return
            record = (await self._records.load(key)).entry.record

    async def _keep(
        self,
        found: Found,
        lease: Lease,
        kept: KeptCheckpoint,
        checkpoint: StoredCheckpoint,
        lengths: list[int],
        at: float,
    ) -> bool:
        """Whether the uploaded memory became the newest; False where another change came first."""
        entry, place = found.entry, names(lease.key)
        rules.check_follows(entry.record, checkpoint)
        rules.check_chain(await self._journal.chain_at(entry, checkpoint.offset), checkpoint)
        checkpoints = (*entry.checkpoints, kept)
        left, gone = checkpoints[-CHECKPOINTS_KEPT:], checkpoints[:-CHECKPOINTS_KEPT]
        journal_offset = entry.journal_offset
        if len(left) == CHECKPOINTS_KEPT:
            begin = rules.trimmed_to(entry.record, entry.journal_offset, left[0].info.offset)
            journal_offset = await self._journal.begin(entry, begin)
        moved = rules.moved(entry.record, checkpoint, at)
        answer = await self._records.change(
            "checkpoint",
            [
                *(place.record, place.lease, place.journal, place.pieces, place.checkpoint(kept.attempt)),
                *place.checkpoints(gone),
            ],
            found.sealed,
            self._records.seal(replace(entry, record=moved, journal_offset=journal_offset, checkpoints=left)),
            lease.holder,
            lease.epoch,
            entry.journal_offset,
            journal_offset,
            REPEATS_KEPT,
            *lengths,
        )
        if answer == b"lease":
            raise rules.stale_lease(lease)
        return is_done(answer)

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
