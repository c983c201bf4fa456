"""Redaction in Redis: redacted text and memories are uploaded, and a script puts them in the place of the old ones."""

import secrets
from dataclasses import replace

from server.store import redaction as rules_of_redaction
from server.store import rules
from server.store.base import Redaction, SessionRecord
from server.store.manifest import Manifest
from server.store.parts import Root
from server.store.redis.cas import Found, Records, is_done
from server.store.redis.journal import Journal, Redacted
from server.store.redis.loans import Loans
from server.store.redis.memories import Memories, Uploaded, made_by
from server.store.redis.names import names


class Redactions:
    def __init__(self, records: Records, journal: Journal, memories: Memories, loans: Loans) -> None:
        self._records, self._journal, self._memories, self._loans = records, journal, memories, loans

    async def redact(self, record: SessionRecord, redaction: Redaction, lineage: str, at: float) -> SessionRecord:
        place = names(record.key)

        async def redact(found: Found) -> SessionRecord | None:
            entry = found.entry
            rules_of_redaction.check(entry.record, redaction, [each.name for each in entry.snapshots], record.lineage)
            copy, text, journal_offset = place.redacted(secrets.token_hex(8)), Redacted(), entry.record.accepted_bytes
            if entry.record.keep_text:
                text = await self._journal.redact(entry, redaction.ranges, lineage, copy)
                journal_offset = entry.journal_offset
            redacted, changed = rules_of_redaction.redacted(entry.record, redaction, text.deleted, lineage, at)
            redacted = rules.trimmed_marks(redacted, journal_offset)
            checkpoint, followed = await self._upload(entry, redacted, changed)
            uploaded, roots = [checkpoint, *followed.values()], dict[str, Root]()
            for memory in uploaded:
                roots |= memory.root
            new = replace(
                entry,
                record=redacted,
                journal_offset=journal_offset,
                checkpoints=(checkpoint.stored.kept,),
                snapshots=tuple(
                    each._replace(kept=followed[each.name].stored.kept) if each.name in followed else each
                    for each in entry.snapshots
                ),
                spans=(),
            )
            change = await self._memories.settle(entry, new, roots)
            answer = await self._records.change(
                "redact",
                [
                    *(place.record, place.lease, place.journal, place.pieces, copy.journal, copy.pieces),
                    *(key for memory in uploaded for key in memory.keys),
                    *change.removed,
                ],
                found.sealed,
                self._records.seal(change.entry),
                text.pieces,
                *(number for memory in uploaded for number in (len(memory.lengths), *memory.lengths)),
            )
            if not is_done(answer):
                return None
            await self._loans.give_back(record.key.tenant, entry.pool, change.returned)
            return redacted

        return await self._records.decide(record.key, redact)

    async def _upload(
        self, entry: Manifest, record: SessionRecord, redaction: Redaction
    ) -> tuple[Uploaded, dict[str, Uploaded]]:
        """The new checkpoint, and the memories of the snapshots that follow."""
        checkpoint = await self._loans.prepare(entry, record, redaction.checkpoint, None)
        roots, followed = checkpoint.root, dict[str, Uploaded]()
        for name, memory in redaction.snapshots.items():
            followed[name] = await self._loans.prepare(entry, made_by(record, entry.named(name)), memory, None, roots)
            roots |= followed[name].root
        return checkpoint, followed
