# Generated from _async/session.py by clients/python/tools/generate_sync.py: do not edit.
"""A session: its text goes in, its answers come out, its memory is copied. One thread or task at a time may use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal, Unpack, overload

from onceread._sync.transport import FlowRunner, Transport
from onceread.concurrency import Callback, call
from onceread.options import UNCHANGED, AskOptions, BaseSession, Unchanged, changes, new_id, without_none
from onceread.results import Answer, Document, Progress, SessionInfo, Snapshot, TextRange
from onceread.save_file import save_file
from onceread.sources import Readable, open_source
from onceread.wire import queries, sessions
from onceread.wire.sessions import SessionHandle
from onceread.wire.upload import Upload


class AnswerStream(Iterator[str]):
    """The pieces of an answer as they are generated; `answer` is the whole answer once all have come."""

    def __init__(self, runner: FlowRunner[Answer]) -> None:
        self._runner, self._pieces = runner, iter(runner)

    def __next__(self) -> str:
        return str(next(self._pieces))

    @property
    def answer(self) -> Answer | None:
        return getattr(self._runner, "result", None)

    def close(self) -> None:
        """Ends the stream early; the server stops generating."""
        self._runner.close()

    def __enter__(self) -> AnswerStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Session(BaseSession):
    def __init__(self, transport: Transport, info: SessionInfo, handle: SessionHandle | None = None) -> None:
        super().__init__(info, handle or SessionHandle(info.id))
        self._transport, self._retries = transport, transport.retries

    def refresh(self) -> SessionInfo:
        """The session as it is now."""
        self.info = self._transport.run(sessions.get(self.id, self._retries))
        return self.info

    def read(
        self,
        source: Readable,
        *,
        at: int | None = None,
        document: str | None = None,
        wait: bool = True,
        progress: Callback[Progress] | None = None,
    ) -> Progress:
        """Sends a text, resuming after failures; returns when it has been read.

        Without `wait` it returns when the text is durable. The source is appended at the end of the session's text. To
        resume an interrupted call, pass the same source and `at`, the offset in the session's text of the source's
        first byte: 0 if the session has no other text. The text begins or goes on with the `document` of this name;
        without it, with that of the text before.
        """
        opened = open_source(source)
        try:
            upload = Upload(self._handle, at, opened.total_bytes, self._retries, document=document)
            return self._transport.run(upload.flow(wait), opened, progress)
        finally:
            opened.close()

    @overload
    def ask(self, question: str, *, stream: Literal[False] = False, **options: Unpack[AskOptions]) -> Answer: ...

    @overload
    def ask(self, question: str, *, stream: Literal[True], **options: Unpack[AskOptions]) -> AnswerStream: ...

    def ask(self, question: str, *, stream: bool = False, **options: Unpack[AskOptions]) -> Answer | AnswerStream:
        """The answer from all text acknowledged before; with `stream` an iterator over its pieces."""
        if stream:
            flow = queries.ask_streamed(self._handle, question, options, self._retries)
            return AnswerStream(self._transport.start(flow))
        return self._transport.run(queries.ask(self._handle, question, options, self._retries))

    def ask_all(self, questions: Sequence[str], **options: Unpack[AskOptions]) -> list[Answer]:
        """The answers to several questions from one memory, generated in one batch."""
        return self._transport.run(queries.ask_all(self._handle, questions, options, self._retries))

    def fork(
        self,
        *,
        id: str | None = None,
        metadata: Mapping[str, str] | None = None,
        ttl_seconds: float | None = None,
        snapshot: str | None = None,
    ) -> Session:
        """A new session with this one's memory, as it is now or at a snapshot."""
        settings = without_none(metadata=metadata, ttl_seconds=ttl_seconds)
        settings["from"] = without_none(session=self.id, snapshot=snapshot)
        flow = sessions.create(id or new_id(), id is None, settings, self._retries)
        return Session(self._transport, self._transport.run(flow))

    def documents(self) -> list[Document]:
        """The documents of all text acknowledged before, in the order of the text."""
        return self._transport.run(sessions.list_documents(self.id, self._retries))

    def text(self, offset: int, bytes: int = 4096, *, snapshot: str | None = None) -> TextRange:
        """The whole characters in these bytes of the text, up to the end of their document; `TextNotFound`.

        With `snapshot` of the text that it covers.
        """
        return self._transport.run(sessions.text(self.id, offset, bytes, snapshot, self._retries))

    def delete_document(self, name: str, snapshots: bool = False) -> None:
        """Deletes a document for certain; with `snapshots`, from every snapshot that has it too."""
        self._transport.run(sessions.delete_document(self._handle, name, snapshots, self._retries))

    def snapshot(self, name: str) -> Snapshot:
        """Keeps the memory as it is now, under a name."""
        return self._transport.run(sessions.take_snapshot(self.id, name, self._retries))

    def snapshots(self) -> list[Snapshot]:
        """The session's snapshots, newest first."""
        return self._transport.run(sessions.list_snapshots(self.id, self._retries))

    def delete_snapshot(self, name: str) -> None:
        """Deletes a snapshot; sessions that were forked from it stay."""
        self._transport.run(sessions.delete_snapshot(self.id, name, self._retries))

    def restore(self, snapshot: str) -> SessionInfo:
        """Goes back to a snapshot; text that came after it is deleted."""
        self.info = self._transport.run(sessions.restore(self._handle, snapshot, self._retries))
        return self.info

    def save(self, path: Path | str) -> None:
        """Writes the memory to a safetensors file; `sessions.load` reads it at any server with the same weights."""
        memory = self._transport.run(sessions.save(self._handle, self._retries))
        call(partial(save_file, Path(path), memory))

    def update(
        self,
        *,
        metadata: Mapping[str, str] | Unchanged = UNCHANGED,
        ttl_seconds: float | Unchanged | None = UNCHANGED,
    ) -> SessionInfo:
        """Replaces the metadata or the time to live; with `ttl_seconds=None` the session never expires."""
        flow = sessions.update(self.id, changes(metadata, ttl_seconds), self._retries)
        self.info = self._transport.run(flow)
        return self.info

    def rebuild(self) -> SessionInfo:
        """Reads the kept text again with the server's weights."""
        self.info = self._transport.run(sessions.rebuild(self._handle, self._retries))
        return self.info

    def delete(self) -> None:
        """Deletes the session, its text and its memory."""
        self._transport.run(sessions.delete(self.id, self._retries))
