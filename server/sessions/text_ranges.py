"""TextRangeService: the text around a place, as the memory holds it or as the session keeps it."""

from __future__ import annotations

import asyncio

from model.checkpoint import Checkpoint
from model.mechanisms.base import HeldText
from model.text_range import TextRange, text_range
from model.weights import LoadedModel
from server.sessions import errors
from server.sessions.documents import DocumentService
from server.sessions.registry import SessionRegistry
from server.sessions.snapshots import SnapshotService
from server.store.base import SessionKey, SessionRecord, StaleCheckpoint, Store

RANGE_BYTES_MAX = 65_536


class TextRangeService:
    def __init__(
        self,
        store: Store,
        registry: SessionRegistry,
        listing: DocumentService,
        snapshots: SnapshotService,
        loaded: LoadedModel,
    ) -> None:
        self._store = store
        self._registry = registry
        self._listing = listing
        self._snapshots = snapshots
        self._loaded = loaded

    async def read(self, key: SessionKey, offset: int, size: int, snapshot: str | None = None) -> TextRange:
        """The whole characters in the `size` bytes from `offset` on, of all text acknowledged before now.

        They end where the document does, or where the text that is held does. With `snapshot`, of the text that it
        covers. `TextMissing`, `TextNotKept`, `ReadingBehind`; `InvalidField` where `size` is less than a character.
        """
        record = None
        if snapshot is None:
            record, read = await self._listing.reached(key)
            await self._registry.use(record)
            state = read.state
        else:
            _, state = await self._snapshots.snapshot(key, snapshot)
        tail = self._loaded.tokenizer.decode(state.tail) + state.pending
        held = await asyncio.to_thread(self._loaded.model.held_text, state.memory, tail, offset, size)
        if held is None:
            held = await self._kept(record, state, offset, size)
        found = text_range(held.data, offset, state.documents)
        if found.text:
            return found
        if len(held.data) == size:
            raise errors.InvalidField(
                f"bytes: no whole character is in these {size} bytes; a character has up to 4, ask for more", "bytes"
            )
        raise _missing(state, held, offset)

    async def _kept(self, record: SessionRecord | None, state: Checkpoint, offset: int, size: int) -> HeldText:
        """What the store keeps of the text that the state covers; nothing of a snapshot's, which has no `record`."""
        if record is None:
            raise errors.TextNotKept("the memory of this model holds no text, so no snapshot has any")
        if not record.keep_text:
            raise errors.TextNotKept(
                "the memory of this model holds no text, and the session does not keep its own; create one with "
                "keep_text and send the text to it"
            )
        if offset >= state.offset:
            return HeldText(b"")
        try:
            return HeldText(await self._store.journal(record.key, offset, min(size, state.offset - offset)))
        except StaleCheckpoint:
            raise errors.TextMissing(
                f"the session does not keep its text from offset {offset} on: a snapshot was restored whose text was "
                "not kept",
                param="offset",
                next_offset=None,
            ) from None


def _missing(state: Checkpoint, held: HeldText, offset: int) -> errors.TextMissing:
    if offset + len(held.data) >= state.offset:
        detail = f"no whole character of the text is at offset {offset} or behind it: the text ends at {state.offset}"
    else:
        detail = (
            f"the memory no longer holds the text at offset {offset}: it was forgotten when the memory was full, or "
            "its document was deleted"
        )
        if held.next_offset is not None:
            detail += f"; what is held goes on at {held.next_offset}"
    return errors.TextMissing(detail, param="offset", next_offset=held.next_offset)
