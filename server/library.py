"""The use cases in plain words: create, append, ask, list, delete.

It knows sessions and what may be done with them, and nothing of HTTP or threads.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

from model.checkpoint import Checkpoint
from model.generation import Sampling
from model.prompt import answer_room, prompt_ids
from model.tokenizer import StreamDecoder
from model.weights import LoadedModel
from server import errors
from server.engine import Engine
from server.pieces import PieceCutter
from server.reading import Origin, Reading
from server.settings import Settings
from server.store.contract import (
    ContentConflict,
    OffsetMismatch,
    SessionKey,
    SessionRecord,
    SessionTaken,
    StaleCheckpoint,
    Store,
)
from server.telemetry import Telemetry


@dataclass(frozen=True)
class SessionView:
    """A session as it is now: what is stored, and how far reading has come beyond that."""

    record: SessionRecord
    read_bytes: int
    tokens: int
    segments: int
    memory_bytes: int
    version: int

    @property
    def status(self) -> str:
        if self.record.quarantined:
            return "quarantined"
        return "reading" if self.read_bytes < self.record.accepted_bytes else "idle"


@dataclass(frozen=True)
class TextState:
    """The answer to an append: how far the text is durable, and how far it has been read."""

    accepted_bytes: int
    read_bytes: int
    tokens: int
    replayed: bool = False


@dataclass(frozen=True)
class Question:
    """A question and how its answer is to be written."""

    text: str
    tokens_max: int
    sampling: Sampling


@dataclass(frozen=True)
class Standpoint:
    """The memory that questions are put to: fixed at the moment of asking."""

    state: Checkpoint
    version: int
    origin: Origin
    tail: tuple[int, ...]

    @property
    def memory_tokens(self) -> int:
        return self.state.tokens + len(self.tail) - len(self.state.tail)


@dataclass(frozen=True)
class Answer:
    """A finished answer and what it cost."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class Library:
    """Sessions of all tenants: their texts go in by offset, questions are answered from their memories."""

    def __init__(
        self,
        store: Store,
        reading: Reading,
        engine: Engine,
        loaded: LoadedModel,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._store, self._reading, self._engine = store, reading, engine
        self._loaded, self._settings, self._telemetry = loaded, settings, telemetry
        self._answers = 0
        self._answers_ended = asyncio.Event()
        self._answers_ended.set()
        self.draining = False

    async def create(self, tenant: str, id_: str | None, metadata: dict[str, str]) -> SessionView:
        now = time.time()
        key = SessionKey(tenant, id_ or f"sess_{secrets.token_hex(12)}")
        record = SessionRecord(key, now, now, self._loaded.name, self._loaded.fingerprint, metadata)
        try:
            await self._store.create(record)
        except SessionTaken:
            raise errors.SessionExists(f"a session named {key.id} exists; choose another id or use it") from None
        return self._view(record)

    async def get(self, key: SessionKey) -> SessionView:
        return self._view(await self._store.get(key))

    async def page(self, tenant: str, limit: int, after: str | None) -> tuple[list[SessionView], bool]:
        """At most `limit` sessions, and whether there are more."""
        records = await self._store.list(tenant, limit + 1, after)
        return [self._view(record) for record in records[:limit]], len(records) > limit

    async def delete(self, key: SessionKey) -> None:
        await self._store.delete(key)
        await self._reading.forget(key)

    async def append(self, key: SessionKey, offset: int | None, body: AsyncIterator[bytes]) -> TextState:
        """Makes the body durable piece by piece behind `offset` (None: the end); it is read in the background.

        What was durable before a failure stays durable, and the error names how far that is.
        """
        record = await self._readable(key)
        position = record.accepted_bytes if offset is None else offset
        if position > record.accepted_bytes:
            raise _mismatch(record.accepted_bytes, position)
        cutter = PieceCutter(await self._characters_before(key, position))
        accepted, replayed, empty = record.accepted_bytes, True, True
        try:
            async for piece in cutter.pieces(body):
                await self._reading.room(key, self._settings.backlog_bytes)
                if self.draining:
                    raise errors.Draining(
                        f"the text is durable up to offset {accepted}; go on from there",
                        accepted_bytes=accepted,
                    )
                result = await self._append_piece(key, position, piece, accepted)
                position += len(piece)
                empty, accepted, replayed = False, result[0], replayed and result[1]
                self._reading.wake(key, accepted, record.read_bytes)
        except errors.InvalidUtf8 as error:
            error.members["expected_offset"] = accepted
            raise
        return self._text_state(key, accepted, replayed and not empty)

    async def _append_piece(self, key: SessionKey, position: int, piece: bytes, accepted: int) -> tuple[int, bool]:
        try:
            appended = await self._store.append(key, position, piece, time.time())
        except OffsetMismatch as error:
            raise _mismatch(error.accepted_bytes, position) from None
        except ContentConflict as error:
            raise errors.ContentConflict(
                f"other bytes were accepted behind offset {position}; the text is durable up to {error.accepted_bytes}",
                expected_offset=error.accepted_bytes,
            ) from None
        return appended.accepted_bytes, appended.replayed

    async def _characters_before(self, key: SessionKey, position: int) -> bytes | None:
        """The bytes before `position` that a character may span, or None where they are not kept any more."""
        start = max(0, position - 3)
        try:
            return await self._store.journal(key, start, position - start)
        except StaleCheckpoint:
            return None

    async def wait_read(self, key: SessionKey, offset: int) -> TextState:
        """Returns when the text has been read up to `offset`."""
        await self._reading.reach(key, offset)
        return self._text_state(key, offset, False)

    async def ask(self, key: SessionKey) -> Standpoint:
        """The memory as of everything acknowledged before now."""
        record = await self._readable(key)
        state, live, origin = await self._reading.reach(key, record.accepted_bytes)
        pending = self._loaded.tokenizer.flush(state.pending)
        return Standpoint(state, live.version, origin, (*state.tail, *pending))

    def prompt(self, standpoint: Standpoint, question: Question, param: str) -> list[int]:
        """The question's window; refused when it leaves no room for the answer."""
        config = self._loaded.model.config
        prompt = prompt_ids(config, standpoint.tail, self._loaded.tokenizer.encode(question.text))
        room = answer_room(config, prompt)
        if room < 1:
            raise errors.InvalidField(
                f"the question is {1 - room} tokens too long for a window of {config.window_tokens}; shorten it",
                param=param,
            )
        return prompt

    async def write(
        self, standpoint: Standpoint, prompt: list[int], question: Question
    ) -> AsyncGenerator[str | Answer, None]:
        """The answer's text as it is written, then the answer as a whole."""
        began = time.perf_counter()
        room = answer_room(self._loaded.model.config, prompt)
        tokens_max = min(question.tokens_max, room)
        decoder, parts, count = StreamDecoder(self._loaded.tokenizer), [], 0
        self._answers += 1
        self._answers_ended.clear()
        try:
            stream = self._engine.answer(standpoint.state.memory, prompt, question.sampling, tokens_max)
            async with aclosing(stream) as tokens:
                async for token in tokens:
                    if not count:
                        self._telemetry.first_token_seconds.observe(time.perf_counter() - began)
                    count += 1
                    if text := decoder.push(token):
                        parts.append(text)
                        yield text
            if text := decoder.finish():
                parts.append(text)
                yield text
        finally:
            self._answers -= 1
            if not self._answers:
                self._answers_ended.set()
            self._telemetry.generation_tokens.inc(count)
        reason = "length" if count >= tokens_max else "stop"
        yield Answer("".join(parts), reason, len(prompt), count)

    async def answers_end(self) -> None:
        """Returns when no answer is being written or waiting to be."""
        await self._answers_ended.wait()

    def overload(self) -> str | None:
        """Why no more work is taken now, or None."""
        load = self._engine.load()
        if load.answers_waiting >= self._settings.answers_waiting_max:
            return f"{load.answers_waiting} questions are waiting"
        if (behind := self._reading.behind_bytes) >= self._settings.backlog_bytes:
            return f"{behind} bytes of text are waiting to be read"
        return None

    async def _readable(self, key: SessionKey) -> SessionRecord:
        record = await self._store.get(key)
        if record.quarantined:
            raise errors.SessionQuarantined(
                f"its stored memory is damaged ({record.quarantined}); delete the session and send its text again"
            )
        if record.fingerprint != self._loaded.fingerprint:
            raise errors.FingerprintMismatch(
                f"the session was made with weights {record.fingerprint[:12]}, this server has "
                f"{self._loaded.fingerprint[:12]}; serve those weights, or send the text to a new session",
                session_fingerprint=record.fingerprint,
                server_fingerprint=self._loaded.fingerprint,
            )
        return record

    def _text_state(self, key: SessionKey, accepted: int, replayed: bool) -> TextState:
        live = self._reading.residents.use(key)
        if live is None or live.state is None:
            return TextState(accepted, 0, 0, replayed)
        return TextState(accepted, live.state.offset, live.state.tokens, replayed)

    def _view(self, record: SessionRecord) -> SessionView:
        live = self._reading.residents.use(record.key)
        state = live.state if live else None
        if live is None or state is None or state.offset < record.read_bytes:
            return SessionView(
                record, record.read_bytes, record.tokens, record.segments, record.memory_bytes, record.version
            )
        return SessionView(
            record,
            state.offset,
            state.tokens,
            state.segments,
            state.memory.nbytes,
            max(live.version, record.version),
        )


def _mismatch(accepted: int, position: int) -> errors.OffsetMismatch:
    return errors.OffsetMismatch(
        f"the append starts at offset {position} and the text ends at {accepted}; send on from {accepted}",
        expected_offset=accepted,
    )
