"""A session for asynchronous callers: what `session` has, to be awaited.

It knows the calls, and nothing of how they are made good over a connection that breaks. It is not for
several tasks at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack, overload

from anyio import to_thread

from onceread.async_connection import AsyncConnection, AsyncConversation
from onceread.async_sources import AsyncReadable, async_source_of
from onceread.keeping import write_whole
from onceread.options import UNCHANGED, AskOptions, SessionFacts, Unchanged, changes, given, made_up_id
from onceread.results import Answer, Progress, SessionInfo, Snapshot
from onceread.wire import asking, sessions
from onceread.wire.handle import Handle
from onceread.wire.reading import Reading


class AsyncAnswerStream(AsyncIterator[str]):
    """The pieces of an answer as they are written; `answer` is the whole of it once they have all come."""

    def __init__(self, conversation: AsyncConversation[Answer]) -> None:
        self._conversation, self._pieces = conversation, aiter(conversation)

    async def __anext__(self) -> str:
        return str(await anext(self._pieces))

    @property
    def answer(self) -> Answer | None:
        return getattr(self._conversation, "result", None)

    async def close(self) -> None:
        """Ends it early; the server stops writing."""
        await self._conversation.close()

    async def __aenter__(self) -> AsyncAnswerStream:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class AsyncSession(SessionFacts):
    def __init__(self, connection: AsyncConnection, info: SessionInfo, handle: Handle | None = None) -> None:
        super().__init__(info, handle or Handle(info.id))
        self._connection, self._retries = connection, connection.retries

    async def refresh(self) -> SessionInfo:
        """The session as it is now."""
        self.info = await self._connection.run(sessions.found(self.id, self._retries))
        return self.info

    async def read(
        self,
        source: AsyncReadable,
        *,
        at: int | None = None,
        wait: bool = True,
        progress: Callable[[Progress], Awaitable[None] | None] | None = None,
    ) -> Progress:
        """Sends a text, whatever breaks underway; returns when it has been read, or without `wait` when it is durable.

        The source goes behind the text that is there. To go on with one that was broken off, give it again with `at`,
        the offset in the session's text where its first byte belongs: 0, where it is all there is.
        """
        taken = await async_source_of(source)
        try:
            reading = Reading(self._handle, at, taken.total_bytes, self._retries)
            return await self._connection.run(reading.flow(wait), taken, progress)
        finally:
            await taken.close()

    @overload
    def ask(
        self, question: str, *, stream: Literal[False] = False, **options: Unpack[AskOptions]
    ) -> Awaitable[Answer]: ...

    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Unpack[AskOptions]) -> AsyncAnswerStream: ...

    def ask(
        self, question: str, *, stream: bool = False, **options: Unpack[AskOptions]
    ) -> Awaitable[Answer] | AsyncAnswerStream:
        """The answer from everything acknowledged before, awaited; with `stream` in pieces, for `async for`."""
        if stream:
            flow = asking.streamed(self._handle, question, options, self._retries)
            return AsyncAnswerStream(self._connection.conversation(flow))
        return self._connection.run(asking.asked(self._handle, question, options, self._retries))

    async def ask_all(self, questions: Sequence[str], **options: Unpack[AskOptions]) -> list[Answer]:
        """The answers to several questions from one memory, written side by side."""
        return await self._connection.run(asking.all_asked(self._handle, questions, options, self._retries))

    async def fork(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        snapshot: str | None = None,
    ) -> AsyncSession:
        """A new session with this one's memory, as it is now or as a snapshot has it."""
        settings = given(metadata=metadata, ttl_seconds=ttl_seconds)
        settings["from"] = given(session=self.id, snapshot=snapshot)
        flow = sessions.created(id or made_up_id(), id is None, settings, self._retries)
        return AsyncSession(self._connection, await self._connection.run(flow))

    async def snapshot(self, name: str) -> Snapshot:
        """Keeps the memory as it is now under a name."""
        return await self._connection.run(sessions.snapshot_taken(self.id, name, self._retries))

    async def snapshots(self) -> list[Snapshot]:
        """The snapshots that there are, newest first."""
        return await self._connection.run(sessions.snapshots(self.id, self._retries))

    async def delete_snapshot(self, name: str) -> None:
        """Forgets a snapshot; sessions that were forked from it stay."""
        await self._connection.run(sessions.snapshot_deleted(self.id, name, self._retries))

    async def restore(self, snapshot: str) -> SessionInfo:
        """Back to a snapshot; what came after it is forgotten."""
        self.info = await self._connection.run(sessions.restored(self._handle, snapshot, self._retries))
        return self.info

    async def save(self, path: Path | str) -> None:
        """The memory as a safetensors file, which `sessions.load` takes, at any server with the same weights."""
        memory = await self._connection.run(sessions.saved(self._handle, self._retries))
        await to_thread.run_sync(write_whole, Path(path), memory)

    async def update(
        self,
        *,
        metadata: Mapping[str, str] | Unchanged = UNCHANGED,
        ttl_seconds: float | Unchanged | None = UNCHANGED,
    ) -> SessionInfo:
        """New metadata in place of the old, another life; `ttl_seconds=None` lets the session live for ever."""
        flow = sessions.updated(self.id, changes(metadata, ttl_seconds), self._retries)
        self.info = await self._connection.run(flow)
        return self.info

    async def rebuild(self) -> SessionInfo:
        """Has the kept text read again under the server's weights."""
        self.info = await self._connection.run(sessions.rebuilt(self._handle, self._retries))
        return self.info

    async def delete(self) -> None:
        """Forgets the session, its text and its memory."""
        await self._connection.run(sessions.deleted(self.id, self._retries))
