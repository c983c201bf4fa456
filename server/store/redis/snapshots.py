"""Snapshots in Redis: checkpoints kept under a name, rewinding to one, and rebuilding a session from its text."""

import secrets
from dataclasses import replace

from server.store import rules
from server.store.base import DamagedValue, Mark, SessionKey, SessionRecord, Snapshot, StoredCheckpoint
from server.store.manifest import KeptCheckpoint, Manifest, SnapshotInfo
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.checkpoints import Memories
from server.store.redis.index import Indexes
from server.store.redis.journal import Ending, Journal
from server.store.redis.names import names


class RedisSnapshots:
    def __init__(self, records: Records, journal: Journal, memories: Memories, indexes: Indexes) -> None:
        self._records, self._journal, self._memories, self._indexes = records, journal, memories, indexes

    async def keep_snapshot(
        self, key: SessionKey, name: str, lineage: str, checkpoint: StoredCheckpoint, at: float
    ) -> Snapshot:
        place, kept = names(key), KeptCheckpoint.of(checkpoint, secrets.token_hex(8))
        lengths: list[int] | None = None
        while True:
            found = await self._records.load(key)
            entry, record = found.entry, found.entry.record
            rules.check_snapshot(record, (each.name for each in entry.snapshots), name, lineage, checkpoint.offset)
            rules.check_chain(await self._journal.known_chain(entry, checkpoint.offset), checkpoint)
            if lengths is None:
                lengths = await self._memories.upload(record, kept, checkpoint.value)
            snapshot = SnapshotInfo.of(record, name, at, kept)
            new = replace(entry, record=rules.used(record, at), snapshots=(*entry.snapshots, snapshot))
            keys = [place.record, place.checkpoint(kept.attempt)]
            answer = await self._records.change("snapshot", keys, found.sealed, self._records.seal(new), *lengths)
            if is_done(answer):
                return snapshot.snapshot

    async def load_snapshot(self, found: Found, name: str) -> tuple[Snapshot, StoredCheckpoint]:
        kept = found.entry.named(name)
        then = replace(found.entry.record, model=kept.model, fingerprint=kept.fingerprint, lineage=kept.lineage)
        return kept.snapshot, await self._memories.load(then, kept.kept)

    async def drop_snapshot(self, key: SessionKey, name: str) -> None:
        while True:
            found = await self._records.load(key)
            dropped = found.entry.named(name)
            left = tuple(kept for kept in found.entry.snapshots if kept != dropped)
            keys = [names(key).record, names(key).checkpoint(dropped.kept.attempt)]
            new = self._records.seal(replace(found.entry, snapshots=left))
            if await self._records.change("replace", keys, found.sealed, new):
                return

    async def rewind(
        self, record: SessionRecord, checkpoint: StoredCheckpoint, lineage: str, at: float, marks: tuple[Mark, ...]
    ) -> SessionRecord:
        place, kept = names(record.key), KeptCheckpoint.of(checkpoint, secrets.token_hex(8))
        lengths: list[int] | None = None
        while True:
            found = await self._records.load(record.key)
            entry = found.entry
            rules.check_rewind(entry.record, checkpoint, record.lineage, marks)
            rewound = rules.rewound(entry.record, checkpoint, lineage, at, marks)
            if lengths is None:
                lengths = await self._memories.upload(rewound, kept, checkpoint.value)
            ending = await self._ending(entry, checkpoint, lineage)
            journal_offset = checkpoint.offset if ending is None else entry.journal_offset
            rewound = rules.trimmed_marks(rewound, journal_offset)
            new = replace(entry, record=rewound, journal_offset=journal_offset, checkpoints=(kept,), spans=())
            if ending is None:
                ending = Ending(0)
            else:
                new = replace(new, spans=entry.spans_from(ending.begin, lineage))
            answer = await self._records.change(
                "rewind",
                [
                    *(place.record, place.lease, place.journal, place.pieces, place.checkpoint(kept.attempt)),
                    *place.checkpoints(entry.checkpoints),
                ],
                found.sealed,
                self._records.seal(new),
                *ending,
                *lengths,
            )
            if is_done(answer):
                return rewound

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
            new = self._records.seal(replace(entry, record=rebuilt, checkpoints=(), spans=spans))
            keys = [place.record, place.lease, *place.checkpoints(entry.checkpoints)]
            if await self._records.change("rebuild", keys, found.sealed, new):
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
