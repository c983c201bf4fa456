"""DocumentService: the documents of a session's text, as they were read."""

from __future__ import annotations

import asyncio

from model.documents import Document, listed
from server.ingest.readers import SessionReaders
from server.ingest.session_progress import ReadState
from server.sessions import errors
from server.sessions.registry import SessionRegistry
from server.settings import Settings
from server.store.base import SessionKey, SessionRecord


class DocumentService:
    def __init__(self, readers: SessionReaders, registry: SessionRegistry, settings: Settings) -> None:
        self._readers, self._registry, self._settings = readers, registry, settings

    async def page(self, key: SessionKey, limit: int, after: str | None) -> tuple[list[Document], bool]:
        """At most `limit` documents behind the one named `after`, in the text's order, and whether there are more.

        They are those of all text acknowledged before now; `ReadingBehind` where it is not read within
        `answer_wait_seconds`, `InvalidField` where no document is named `after`.
        """
        record, read = await self.reached(key)
        await self._registry.use(record)
        found = listed(read.state.documents)
        begin = 0
        if after is not None:
            names = [document.name for document in found]
            if after not in names:
                raise errors.InvalidField("after: no document has this name; list them from the first", param="after")
            begin = names.index(after) + 1
        return found[begin : begin + limit], len(found) > begin + limit

    async def reached(self, key: SessionKey) -> tuple[SessionRecord, ReadState]:
        """The session's state once it has read all text acknowledged before now; `ReadingBehind`."""
        record = await self._registry.readable(key)
        try:
            async with asyncio.timeout(self._settings.answer_wait_seconds):
                reached = await self._readers.reach(record)
        except TimeoutError:
            read_bytes = self._registry.view(record).read_bytes
            raise errors.ReadingBehind(
                f"{read_bytes} of {record.accepted_bytes} bytes were read within "
                f"{self._settings.answer_wait_seconds:g} seconds; ask again after the seconds in Retry-After",
                read_bytes=read_bytes,
                accepted_bytes=record.accepted_bytes,
            ) from None
        return record, reached.read
