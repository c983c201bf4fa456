"""Checkpoints in Redis: a memory is uploaded in encrypted parts, which expire unless a script keeps them.

The same script makes it the session's newest checkpoint, and removes the checkpoints and the text that no kept one
needs.
"""

import secrets
from dataclasses import replace
from functools import partial

from server.store import rules
from server.store.base import (
    CHECKPOINTS_KEPT,
    PIECE_BYTES_MAX,
    REPEATS_KEPT,
    DamagedValue,
    Lease,
    Recovery,
    SessionRecord,
    StoredCheckpoint,
)
from server.store.encryption import Sealer
from server.store.manifest import KeptCheckpoint
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.client import Link
from server.store.redis.journal import Journal
from server.store.redis.leases import Leases
from server.store.redis.names import names

UNKEPT_SECONDS = 600
# Parts in one answer: 4 MB, a few milliseconds of a connection.
FETCHED_PARTS = 16


class Memories:
    def __init__(self, link: Link, sealer: Sealer) -> None:
        self._link, self._sealer = link, sealer

    async def upload(self, record: SessionRecord, kept: KeptCheckpoint, value: bytes) -> list[int]:
        """Uploads the parts, and returns their lengths; no reader sees them before the manifest names them."""
        at = names(record.key)
        name, lengths = at.checkpoint(kept.attempt), []
        for number, part in enumerate(_parts(value)):
            sealed = self._sealer.seal("memory", record.key, _place(record, kept, number), part)
            await self._link.ask(at.record, ("HSET", name, number, sealed), ("EXPIRE", name, UNKEPT_SECONDS))
            lengths.append(len(sealed))
        return lengths

    async def load(self, record: SessionRecord, kept: KeptCheckpoint) -> StoredCheckpoint:
        at, value = names(record.key), bytearray()
        numbers = range(max(1, -(-kept.value_bytes // PIECE_BYTES_MAX)))
        for start in numbers[::FETCHED_PARTS]:
            some = numbers[start : start + FETCHED_PARTS]
            [parts] = await self._link.ask(at.record, ("HMGET", at.checkpoint(kept.attempt), *some))
            for number, sealed in zip(some, parts, strict=True):
                value += self._sealer.open("memory", record.key, _place(record, kept, number), sealed)
        if len(value) != kept.value_bytes:
            raise DamagedValue(f"checkpoint {kept.info.version} of session {record.key.id!r}")
        return kept.checkpoint(bytes(value))


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
        """Whether the uploaded memory became the newest checkpoint; False if another change came first."""
        entry, place = found.entry, names(lease.key)
        rules.check_follows(entry.record, checkpoint)
        rules.check_chain(await self._journal.chain_at(entry, checkpoint.offset), checkpoint)
        checkpoints = (*entry.checkpoints, kept)
        left, gone = checkpoints[-CHECKPOINTS_KEPT:], checkpoints[:-CHECKPOINTS_KEPT]
        journal_offset = entry.journal_offset
        if len(left) == CHECKPOINTS_KEPT:
            begin = rules.trimmed_to(entry.record, entry.journal_offset, left[0].info.offset)
            journal_offset = await self._journal.begin(entry, begin)
        moved = rules.trimmed_marks(rules.moved(entry.record, checkpoint, at), journal_offset)
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


def _parts(value: bytes) -> list[bytes]:
    return [value[start : start + PIECE_BYTES_MAX] for start in range(0, max(1, len(value)), PIECE_BYTES_MAX)]


def _place(record: SessionRecord, kept: KeptCheckpoint, number: int) -> tuple[object, ...]:
    return (record.lineage, record.model, record.fingerprint, *kept.place, number)
