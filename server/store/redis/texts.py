"""RedisTexts in Redis: a piece goes behind a session's text in one step with the record that says so.

It knows when a piece may be kept, and neither how it is sealed nor who reads it.
"""

import asyncio
from dataclasses import replace
from weakref import WeakValueDictionary

from server.store import rules
from server.store.base import REPEATS_KEPT, Appended, OffsetMismatch, SessionKey
from server.store.redis.cas import Found, Records
from server.store.redis.index import Indexes
from server.store.redis.journal import Journal
from server.store.redis.names import names


class RedisTexts:
    def __init__(self, records: Records, journal: Journal, indexes: Indexes) -> None:
        self._records, self._journal, self._indexes = records, journal, indexes
        self._turns: WeakValueDictionary[SessionKey, asyncio.Lock] = WeakValueDictionary()

    async def append(self, key: SessionKey, offset: int, piece: bytes, at: float, repeats: bool) -> Appended:
        await self._indexes.mark_unread(key)
        # One after the other: appends from here would only make each other begin anew.
        async with self._turns.setdefault(key, asyncio.Lock()):
            while True:
                appended = await self._records.steadily(
                    key, lambda found: self._append(found, offset, piece, at, repeats)
                )
                if appended is not None:
                    return appended

    async def read(self, found: Found, offset: int, limit: int) -> bytes:
        entry = found.entry
        accepted = entry.record.accepted_bytes
        if offset > accepted:
            raise OffsetMismatch(accepted)
        if offset < entry.journal_offset:
            raise rules.trimmed(offset, entry.journal_offset)
        return await self._journal.read(entry, offset, min(offset + limit, accepted))

    async def _append(self, found: Found, offset: int, piece: bytes, at: float, repeats: bool) -> Appended | None:
        """The answer, or None where another change came first."""
        entry, place = found.entry, names(found.entry.record.key)
        accepted = entry.record.accepted_bytes
        known, new = rules.placed(accepted, offset, piece, repeats)
        if known:
            await self._journal.recognise(entry, offset, known)
        if not new:
            # Written where it was compared: what was read may be the word of a Redis that is master no more.
            used = replace(entry, record=rules.used(entry.record, at))
            sure = await self._records.change("replace", [place.record], found.sealed, self._records.seal(used))
            return Appended(used.record, replayed=True) if sure else None
        grown = replace(entry, record=rules.grown(entry.record, new, at))
        sealed, line = self._journal.sealed(entry, new)
        kept = await self._records.change(
            "append",
            [place.record, place.journal, place.pieces],
            found.sealed,
            self._records.seal(grown),
            accepted,
            sealed,
            line,
            entry.journal_offset,
            REPEATS_KEPT,
        )
        return Appended(grown.record, replayed=False) if kept else None
