"""A session: read into it, ask it, copy it, keep it.

It knows the calls, and nothing of how they are made good over a connection that breaks. It is not for
several threads at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, Unpack, overload

from onceread.connection import Connection, Conversation
from onceread.keeping import write_whole
from onceread.options import UNCHANGED, AskOptions, SessionFacts, Unchanged, changes, given, made_up_id
from onceread.results import Answer, Progress, SessionInfo, Snapshot
from onceread.sources import Readable, source_of
from onceread.wire import asking, sessions
from onceread.wire.handle import Handle
from onceread.wire.reading import Reading


class AnswerStream(Iterator[str]):
    """The pieces of an answer as they are written; `answer` is the whole of it once they have all come."""

    def __init__(self, conversation: Conversation[Answer]) -> None:
        self._conversation, self._pieces = conversation, iter(conversation)

    def __next__(self) -> str:
        return str(next(self._pieces))

    @property
    def answer(self) -> Answer | None:
        return getattr(self._conversation, "result", None)

    def close(self) -> None:
        """Ends it early; the server stops writing."""
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
        progress: Callable[[Progress], None] | None = None,
    ) -> Progress:
        """Sends a text, whatever breaks underway; returns when it has been read, or without `wait` when it is durable.

        The source goes behind the text that is there. To go on with one that was broken off, give it again with `at`,
        the offset in the session's text where its first byte belongs: 0, where it is all there is.
        """
        taken = source_of(source)
        try:
            reading = Reading(self._handle, at, taken.total_bytes, self._retries)
            return self._connection.run(reading.flow(wait), taken, progress)
        finally:
            taken.close()

    @overload
    def ask(self, question: str, *, stream: Literal[False] = False, **options: Unpack[AskOptions]) -> Answer: ...

    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Unpack[AskOptions]) -> AnswerStream: ...

    def ask(self, question: str, *, stream: bool = False, **options: Unpack[AskOptions]) -> Answer | AnswerStream:
        """The answer from everything acknowledged before; with `stream` in pieces, as it is written."""
        if stream:
            flow = asking.streamed(self._handle, question, options, self._retries)
            return AnswerStream(self._connection.conversation(flow))
        return self._connection.run(asking.asked(self._handle, question, options, self._retries))

    def ask_all(self, questions: Sequence[str], **options: Unpack[AskOptions]) -> list[Answer]:
        """The answers to several questions from one memory, written side by side."""
        return self._connection.run(asking.all_asked(self._handle, questions, options, self._retries))

    def fork(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        snapshot: str | None = None,
    ) -> Session:
        """A new session with this one's memory, as it is now or as a snapshot has it."""
        settings = given(metadata=metadata, ttl_seconds=ttl_seconds)
        settings["from"] = given(session=self.id, snapshot=snapshot)
        flow = sessions.created(id or made_up_id(), id is None, settings, self._retries)
        return Session(self._connection, self._connection.run(flow))

    def snapshot(self, name: str) -> Snapshot:
        """Keeps the memory as it is now under a name."""
        return self._connection.run(sessions.snapshot_taken(self.id, name, self._retries))

    def snapshots(self) -> list[Snapshot]:
        """The snapshots that there are, newest first."""
        return self._connection.run(sessions.snapshots(self.id, self._retries))

    def delete_snapshot(self, name: str) -> None:
        """Forgets a snapshot; sessions that were forked from it stay."""
        self._connection.run(sessions.snapshot_deleted(self.id, name, self._retries))

    def restore(self, snapshot: str) -> SessionInfo:
        """Back to a snapshot; what came after it is forgotten."""
        self.info = self._connection.run(sessions.restored(self._handle, snapshot, self._retries))
        return self.info

    def save(self, path: Path | str) -> None:
        """The memory as a safetensors file, which `sessions.load` takes, at any server with the same weights."""
        write_whole(Path(path), self._connection.run(sessions.saved(self._handle, self._retries)))

    def update(
        self,
        *,
        metadata: Mapping[str, str] | Unchanged = UNCHANGED,
        ttl_seconds: float | Unchanged | None = UNCHANGED,
    ) -> SessionInfo:
        """New metadata in place of the old, another life; `ttl_seconds=None` lets the session live for ever."""
        flow = sessions.updated(self.id, changes(metadata, ttl_seconds), self._retries)
        self.info = self._connection.run(flow)
        return self.info

    def rebuild(self) -> SessionInfo:
        """Has the kept text read again under the server's weights."""
        self.info = self._connection.run(sessions.rebuilt(self._handle, self._retries))
        return self.info

    def delete(self) -> None:
        """Forgets the session, its text and its memory."""
        self._connection.run(sessions.deleted(self.id, self._retries))
