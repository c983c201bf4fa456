# Generated from _async/session.py by clients/python/tools/generate_sync.py: do not edit.
"""A session: its text goes in, its answers come out, its memory is copied. One thread or task at a time may use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Unpack, overload

from onceread._sync.connection import Connection, Conversation
from onceread.concurrency import Callback, call
from onceread.keeping import write_whole
from onceread.options import UNCHANGED, AskOptions, SessionFacts, Unchanged, changes, given, made_up_id
from onceread.results import Answer, Progress, SessionInfo, Snapshot
from onceread.sources import Readable, open_source
from onceread.wire import asking, sessions
from onceread.wire.handle import Handle
from onceread.wire.reading import Reading


class AnswerStream(Iterator[str]):
    """The pieces of an answer as they are generated; `answer` is the whole answer once all have come."""

    def __init__(self, conversation: Conversation[Answer]) -> None:
        self._conversation, self._pieces = conversation, iter(conversation)

    def __next__(self) -> str:
        return str(next(self._pieces))

    @property
    def answer(self) -> Answer | None:
        return getattr(self._conversation, "result", None)

    def close(self) -> None:
        """Ends the stream early; the server stops generating."""
        self._conversation.close()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session(SessionFacts):
    def __init__(self, connection: Connection, info: SessionInfo, handle: Handle | None = None) -> None:
        super().__init__(info, handle or Handle(info.id))
        self._connection, self._retries = connection, connection.retries

    def refresh(self) -> SessionInfo:
        """The session as it is now."""
        self.info = self._connection.run(sessions.found(self.id, self._retries))
        return self.info

    def read(
        self,
        source: Readable,
        *,
        at: int | None = None,
        wait: bool = True,
        progress: Callback[Progress] | None = None,
    ) -> Progress:
        """Sends a text over as many connections as it takes; returns when it has been read.

        Without `wait` it returns when the text is durable. The source is appended at the end of the session's text. To
        resume an interrupted call, pass the same source and `at`, the offset in the session's text of the source's
        first byte: 0 if the session has no other text.
        """
        opened = open_source(source)
        try:
            reading = Reading(self._handle, at, opened.total_bytes, self._retries)
            return self._connection.run(reading.flow(wait), opened, progress)
        finally:
            opened.close()

    @overload
    def ask(self, question: str, *, stream: Literal[False] = False, **options: Unpack[AskOptions]) -> Answer: ...

    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Unpack[AskOptions]) -> AnswerStream: ...

    def ask(self, question: str, *, stream: bool = False, **options: Unpack[AskOptions]) -> Answer | AnswerStream:
        """The answer from all text acknowledged before; with `stream` an iterator over its pieces."""
        if stream:
            flow = asking.streamed(self._handle, question, options, self._retries)
            return AnswerStream(self._connection.conversation(flow))
        return self._connection.run(asking.asked(self._handle, question, options, self._retries))

    def ask_all(self, questions: Sequence[str], **options: Unpack[AskOptions]) -> list[Answer]:
        """The answers to several questions from one memory, generated in one batch."""
        return self._connection.run(asking.all_asked(self._handle, questions, options, self._retries))

    def fork(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        snapshot: str | None = None,
    ) -> Session:
        """A new session with this one's memory, as it is now or at a snapshot."""
        settings = given(metadata=metadata, ttl_seconds=ttl_seconds)
        settings["from"] = given(session=self.id, snapshot=snapshot)
        flow = sessions.created(id or made_up_id(), id is None, settings, self._retries)
        return Session(self._connection, self._connection.run(flow))

    def snapshot(self, name: str) -> Snapshot:
        """Keeps the memory as it is now, under a name."""
        return self._connection.run(sessions.snapshot_taken(self.id, name, self._retries))

    def snapshots(self) -> list[Snapshot]:
        """The session's snapshots, newest first."""
        return self._connection.run(sessions.snapshots(self.id, self._retries))

    def delete_snapshot(self, name: str) -> None:
        """Deletes a snapshot; sessions that were forked from it stay."""
        self._connection.run(sessions.snapshot_deleted(self.id, name, self._retries))

    def restore(self, snapshot: str) -> SessionInfo:
        """Goes back to a snapshot; text that came after it is deleted."""
        self.info = self._connection.run(sessions.restored(self._handle, snapshot, self._retries))
        return self.info

    def save(self, path: Path | str) -> None:
        """Writes the memory to a safetensors file; `sessions.load` reads it at any server with the same weights."""
        memory = self._connection.run(sessions.saved(self._handle, self._retries))
        call(partial(write_whole, Path(path), memory))

    def update(
        self,
        *,
        metadata: Mapping[str, str] | Unchanged = UNCHANGED,
        ttl_seconds: float | Unchanged | None = UNCHANGED,
    ) -> SessionInfo:
        """Replaces the metadata or the time to live; with `ttl_seconds=None` the session never expires."""
        flow = sessions.updated(self.id, changes(metadata, ttl_seconds), self._retries)
        self.info = self._connection.run(flow)
        return self.info

    def rebuild(self) -> SessionInfo:
        """Reads the kept text again with the server's weights."""
        self.info = self._connection.run(sessions.rebuilt(self._handle, self._retries))
        return self.info

    def delete(self) -> None:
        """Deletes the session, its text and its memory."""
        self._connection.run(sessions.deleted(self.id, self._retries))
