"""Snapshots in Redis: checkpoints kept under a name, rewinding to one, and rebuilding a session from its text."""

from dataclasses import replace

from server.store import rules
from server.store.base import DamagedValue, Mark, SessionKey, SessionRecord, Snapshot, StoredCheckpoint
from server.store.manifest import Manifest, SnapshotInfo
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.index import Indexes
from server.store.redis.journal import Ending, Journal
from server.store.redis.loans import Loans
from server.store.redis.memories import Memories, Uploaded, made_by
from server.store.redis.names import names


class RedisSnapshots:
    def __init__(self, records: Records, journal: Journal, memories: Memories, indexes: Indexes, loans: Loans) -> None:
        self._records, self._journal, self._memories, self._indexes = records, journal, memories, indexes
        self._loans = loans

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        uploaded: Uploaded | None = None

        async def keep(found: Found) -> Snapshot | None:
            nonlocal uploaded
            entry, record = found.entry, found.entry.record
            rules.check_snapshot(record, (each.name for each in entry.snapshots), name, lineage, checkpoint.offset)
            rules.check_chain(await self._journal.known_chain(entry, checkpoint.offset), checkpoint)
            uploaded = await self._loans.prepare(entry, record, checkpoint, uploaded)
            snapshot = SnapshotInfo.of(record, name, at, uploaded.stored.kept)
            new = replace(entry, record=rules.used(record, at), snapshots=(*entry.snapshots, snapshot))
            change = await self._memories.settle(entry, new, uploaded.root)
            keys, sealed = [names(key).record, *uploaded.keys], self._records.seal(change.entry)
            answer = await self._records.change("snapshot", keys, found.sealed, sealed, *uploaded.lengths)
            return snapshot.snapshot if is_done(answer) else None

        return await self._records.decide(key, keep)

    async def load_snapshot(self, found: Found, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        kept = found.entry.named(name)
        return kept.snapshot, await self._memories.load(made_by(found.entry.record, kept), kept.kept)

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        while True:
            found = await self._records.load(key)
            entry, dropped = found.entry, found.entry.named(name)
            left = tuple(kept for kept in entry.snapshots if kept != dropped)
            change = await self._memories.settle(entry, replace(entry, snapshots=left))
            keys, sealed = [names(key).record, *change.removed], self._records.seal(change.entry)
            if await self._records.change("replace", keys, found.sealed, sealed):
                await self._loans.give_back(key.tenant, entry.pool, change.returned)
                return

    async def rewind(
        self, record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, at: float, marks: tuple[Mark, ...]
    ) -> SessionRecord:
        place = names(record.key)
        uploaded: Uploaded | None = None

        async def rewind(found: Found) -> SessionRecord | None:
            nonlocal uploaded
            entry = found.entry
            rules.check_rewind(entry.record, checkpoint, record.lineage, marks)
            rewound = rules.rewound(entry.record, checkpoint, lineage, at, marks)
            uploaded = await self._loans.prepare(entry, rewound, checkpoint, uploaded)
            ending = await self._ending(entry, checkpoint, lineage)
            journal_offset = checkpoint.offset if ending is None else entry.journal_offset
            rewound = rules.trimmed_marks(rewound, journal_offset)
            checkpoints = (uploaded.stored.kept,)
            new = replace(entry, record=rewound, journal_offset=journal_offset, checkpoints=checkpoints, spans=())
            if ending is None:
                ending = Ending(0)
            else:
                new = replace(new, spans=entry.spans_from(ending.begin, lineage))
            change = await self._memories.settle(entry, new, uploaded.root)
            answer = await self._records.change(
                "rewind",
                [place.record, place.lease, place.journal, place.pieces, *uploaded.keys, *change.removed],
                found.sealed,
                self._records.seal(change.entry),
                *ending,
                *uploaded.lengths,
            )
            if not is_done(answer):
                return None
            await self._loans.give_back(record.key.tenant, entry.pool, change.returned)
            return rewound

        return await self._records.decide(record.key, rewind)

    async def rebuild(
        self, record: SessionRecord, model: str, fingerprint: str, lineage: str, at: float
    ) -> SessionRecord:
        key, place = record.key, names(record.key)
        await self._indexes.mark_unread(key)
        while True:
            found = await self._records.load(key)
            entry = found.entry
            rules.check_rebuild(entry.record, entry.journal_offset, record.lineage)
            rebuilt = rules.rebuilt(entry.record, model, fingerprint, lineage, at)
            spans = entry.spans_from(entry.record.accepted_bytes, lineage)
            new = replace(entry, record=rebuilt, checkpoints=(), spans=spans)
            change = await self._memories.settle(entry, new)
            keys = [place.record, place.lease, *change.removed]
            if await self._records.change("rebuild", keys, found.sealed, self._records.seal(change.entry)):
                await self._loans.give_back(key.tenant, entry.pool, change.returned)
                return rebuilt

    async def _ending(self, entry: Manifest, checkpoint: StoredCheckpoint, lineage: str) -> Ending | None:
        """How the kept text is cut to end at the checkpoint's offset; None if it is not kept, or is another text."""
        if not rules.keeps_text(entry.record, entry.journal_offset, checkpoint.offset):
            return None
        if await self._journal.known_chain(entry, checkpoint.offset) != checkpoint.info.chain:
            return None
        try:
            return await self._journal.ending(entry, checkpoint.offset, lineage)
        except DamagedValue:
            return None
