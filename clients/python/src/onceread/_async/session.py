"""A session: its text goes in, its answers come out, its memory is copied. One thread or task at a time may use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Unpack, overload

from onceread._async.transport import AsyncFlowRunner, AsyncTransport
from onceread.async_sources import AsyncReadable, async_open_source
from onceread.concurrency import AsyncCallback, async_call
from onceread.options import UNCHANGED, AskOptions, BaseSession, Unchanged, changes, new_id, without_none
from onceread.results import Answer, AsyncAnswer, Document, Progress, SessionInfo, Snapshot, TextRange
from onceread.save_file import save_file
from onceread.wire import queries, sessions
from onceread.wire.sessions import SessionHandle
from onceread.wire.upload import Upload


class AsyncAnswerStream(AsyncIterator[str]):
    """The pieces of an answer as they are generated; `answer` is the whole answer once all have come."""

    def __init__(self, runner: AsyncFlowRunner[Answer]) -> None:
        self._runner, self._pieces = runner, aiter(runner)

    async def __anext__(self) -> str:
        return str(await anext(self._pieces))

    @property
    def answer(self) -> Answer | None:
        return getattr(self._runner, "result", None)

    async def close(self) -> None:
        """Ends the stream early; the server stops generating."""
        await self._runner.close()

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncSession(BaseSession):
    def __init__(self, transport: AsyncTransport, info: SessionInfo, handle: SessionHandle | None = None) -> None:
        super().__init__(info, handle or SessionHandle(info.id))
        self._transport, self._retries = transport, transport.retries

    async def refresh(self) -> SessionInfo:
        """The session as it is now."""
        self.info = await self._transport.run(sessions.get(self.id, self._retries))
        return self.info

    async def read(
        self,
        source: AsyncReadable,
        *,
        at: int | None = None,
        document: str | None = None,
        wait: bool = True,
        progress: AsyncCallback[Progress] | None = None,
    ) -> Progress:
        """Sends a text, resuming after failures; returns when it has been read.

        Without `wait` it returns when the text is durable. The source is appended at the end of the session's text. To
        resume an interrupted call, pass the same source and `at`, the offset in the session's text of the source's
        first byte: 0 if the session has no other text. The text begins or goes on with the `document` of this name;
        without it, with that of the text before.
        """
        opened = await async_open_source(source)
        try:
            upload = Upload(self._handle, at, opened.total_bytes, self._retries, document=document)
            return await self._transport.run(upload.flow(wait), opened, progress)
        finally:
            await opened.close()

    @overload
    def ask(self, question: str, *, stream: Literal[False] = False, **options: Unpack[AskOptions]) -> AsyncAnswer: ...

    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Unpack[AskOptions]) -> AsyncAnswerStream: ...

    def ask(
        self, question: str, *, stream: bool = False, **options: Unpack[AskOptions]
    ) -> AsyncAnswer | AsyncAnswerStream:
        """The answer from all text acknowledged before; with `stream` an iterator over its pieces."""
        if stream:
            flow = queries.ask_streamed(self._handle, question, options, self._retries)
            return AsyncAnswerStream(self._transport.start(flow))
        return self._transport.run(queries.ask(self._handle, question, options, self._retries))

    async def ask_all(self, questions: Sequence[str], **options: Unpack[AskOptions]) -> list[Answer]:
        """The answers to several questions from one memory, generated in one batch."""
        return await self._transport.run(queries.ask_all(self._handle, questions, options, self._retries))

    async def fork(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        snapshot: str | None = None,
    ) -> AsyncSession:
        """A new session with this one's memory, as it is now or at a snapshot."""
        settings = without_none(metadata=metadata, ttl_seconds=ttl_seconds)
        settings["from"] = without_none(session=self.id, snapshot=snapshot)
        flow = sessions.create(id or new_id(), id is None, settings, self._retries)
        return AsyncSession(self._transport, await self._transport.run(flow))

    async def documents(self) -> list[Document]:
        """The documents of all text acknowledged before, in the order of the text."""
        return await self._transport.run(sessions.list_documents(self.id, self._retries))

    async def text(self, offset: int, bytes: int = 4096, *, snapshot: str | None = None) -> TextRange:
        """The whole characters in these bytes of the text, up to the end of their document; `TextNotFound`.

        With `snapshot` of the text that it covers.
        """
        return await self._transport.run(sessions.text(self.id, offset, bytes, snapshot, self._retries))

    async def delete_document(self, name: str, snapshots: bool = False) -> None:
        """Deletes a document for certain; with `snapshots`, from every snapshot that has it too."""
        await self._transport.run(sessions.delete_document(self._handle, name, snapshots, self._retries))

    async def snapshot(self, name: str) -> Snapshot:
        """Keeps the memory as it is now, under a name."""
        return await self._transport.run(sessions.take_snapshot(self.id, name, self._retries))

    async def snapshots(self) -> list[Snapshot]:
        """The session's snapshots, newest first."""
        return await self._transport.run(sessions.list_snapshots(self.id, self._retries))

    async def delete_snapshot(self, name: str) -> None:
        """Deletes a snapshot; sessions that were forked from it stay."""
        await self._transport.run(sessions.delete_snapshot(self.id, name, self._retries))

    async def restore(self, snapshot: str) -> SessionInfo:
        """Goes back to a snapshot; text that came after it is deleted."""
        self.info = await self._transport.run(sessions.restore(self._handle, snapshot, self._retries))
        return self.info

    async def save(self, path: Path | str) -> None:
        """Writes the memory to a safetensors file; `sessions.load` reads it at any server with the same weights."""
        memory = await self._transport.run(sessions.save(self._handle, self._retries))
        await async_call(partial(save_file, Path(path), memory))

    async def update(
        self,
        *,
        metadata: Mapping[str, str] | Unchanged = UNCHANGED,
        ttl_seconds: float | Unchanged | None = UNCHANGED,
    ) -> SessionInfo:
        """Replaces the metadata or the time to live; with `ttl_seconds=None` the session never expires."""
        flow = sessions.update(self.id, changes(metadata, ttl_seconds), self._retries)
        self.info = await self._transport.run(flow)
        return self.info

    async def rebuild(self) -> SessionInfo:
        """Reads the kept text again with the server's weights."""
        self.info = await self._transport.run(sessions.rebuild(self._handle, self._retries))
        return self.info

    async def delete(self) -> None:
        """Deletes the session, its text and its memory."""
        await self._transport.run(sessions.delete(self.id, self._retries))
