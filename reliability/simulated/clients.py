"""Replicas made of the server's own parts, and clients that use one session and judge the answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import detangle

from model.checkpoint import Checkpoint
from reliability.simulated.world import LOADED, SEGMENT_TOKENS, Reader, WatchedStore, Way, Weather, serial
from server.engine.engine import Engine
from server.ingest.errors import ReaderStopped
from server.ingest.readers import SessionReaders
from server.ingest.sweeper import Sweeper
from server.observability.metrics import Metrics
from server.sessions import errors
from server.sessions.pieces import Passage
from server.sessions.queries import Query
from server.sessions.receipts import Receipts
from server.sessions.registry import NewSession
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import SessionKey, SessionMissing, Store, StoreError, StoreUnavailable

KEY = SessionKey("acme", "a")
RECEIPTS = Receipts(b"simulated")
TELEMETRY = Metrics()
LEASE_SECONDS = 1.0
SETTINGS = {
    "reading_sessions_max": 32,
    "backlog_bytes": 1 << 30,
    "checkpoint_segments": 2,
    "checkpoint_seconds": 0.5,
    "idle_seconds": 0.1,
    "lease_seconds": LEASE_SECONDS,
    # A question that is never answered must show as one.
    "answer_wait_seconds": 86400.0,
}
SWEEP_SECONDS = 2.0
AGAIN_SECONDS = 0.1
Result = TypeVar("Result")


class Gone(Exception):
    """The replica died before it answered."""


class Replica:
    """A process's parts, wired as the application wires them."""

    def __init__(self, store: WatchedStore, weather: Weather, resident_bytes: int) -> None:
        self.way = Way(store, weather)
        way, engine = cast(Store, self.way), cast(Engine, Reader(self.way, weather))
        settings = Settings.model_construct(**SETTINGS, resident_bytes=resident_bytes)  # type: ignore[arg-type]
        self.readers = SessionReaders(way, engine, LOADED, settings, TELEMETRY)
        self.service = SessionService(way, self.readers, engine, LOADED, settings, TELEMETRY, RECEIPTS)
        self.sweeping = Sweeper(way, self.readers, LOADED.fingerprint, SEGMENT_TOKENS, SWEEP_SECONDS)
        self._calls: set[asyncio.Task[Any]] = set()
        self._start = asyncio.create_task(self._started())

    async def _started(self) -> None:
        while True:
            with suppress(StoreUnavailable):
                return await self.sweeping.start()
            await asyncio.sleep(AGAIN_SECONDS)

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """The replica's answer; `Gone` when it dies before."""
        self._calls.add(task := asyncio.create_task(work))
        if self.way.dead:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if self.way.dead:
                raise Gone from None
            raise
        finally:
            self._calls.discard(task)
            self._must_have_counted()

    def _must_have_counted(self) -> None:
        """The readers' running sums are those of the sessions."""
        backlog, known = self.readers.backlog, [reader.progress for reader in self.readers]
        counted = (backlog.unread_bytes, self.readers.resident_bytes)
        held = {id(block): block.nbytes for progress in known for block in progress.blocks}
        if counted != (summed := (sum(p.unread_bytes for p in known), sum(held.values()))):
            self.way.store.wrong.append(f"unread and resident bytes are counted as {counted}, they are {summed}")

    def crash(self) -> None:
        self.way.dead = True
        for task in self._calls:
            task.cancel()

    def stop(self, seconds: float) -> None:
        self.way.stopped_until = detangle.now() + seconds

    async def end(self) -> None:
        """An orderly shutdown."""
        self._start.cancel()
        await self.sweeping.stop()
        await self.readers.close()
        self.crash()


class Name(detangle.lin.Model):
    """A session's name: free, or that of the session which this `create` made."""

    name = "session"

    def init(self) -> str | None:
        return None

    def step(self, state: str | None, op: detangle.lin.Operation) -> tuple[bool, str | None]:
        known = op.status == detangle.lin.OK
        if op.f == "get":
            return not known or op.output == state, state
        after = (state or op.arg) if op.f == "create" else None
        done = (state is None) == (op.f == "create")
        return not known or op.output == done, after


@dataclass
class Scene:
    """One store, its replicas, what was asked of its one name, and amounts of what happened."""

    store: WatchedStore
    replicas: list[Replica] = field(default_factory=list)
    amounts: Counter[str] = field(default_factory=Counter)
    names: detangle.History = field(default_factory=detangle.History)


@dataclass
class Client:
    """Sends one request after another, each to any replica; `receipt` is that of its last acknowledged text."""

    name: str
    scene: Scene
    receipt: str | None = None
    doing: str = "ask"

    async def live(self, deeds: int) -> None:
        for number in range(deeds):
            self.doing = detangle.choice(("append", "ask", "append", "ask", "get", "resend", "delete", "create"))
            await asyncio.sleep(detangle.choice((0.0, 0.05, 0.3)))
            await getattr(self, self.doing)(f"{self.name}{number}")

    async def create(self, tag: str = "") -> None:
        new = NewSession(KEY.id, {"tag": tag})
        await self._of_the_name("create", tag, lambda service: service.registry.create(KEY.tenant, new))

    async def delete(self, tag: str = "") -> None:
        await self._of_the_name("delete", tag, lambda service: service.registry.delete(KEY))

    async def get(self, tag: str = "") -> None:
        await self._of_the_name("get", tag, lambda service: service.registry.get(KEY))

    async def _of_the_name(self, deed: str, tag: str, work: Any) -> None:
        replica, names = self._replica(), self.scene.names
        op = names.invoke(self.name, deed, tag)
        try:
            view = await replica.call(work(replica.service))
            names.ok(op, view.record.metadata["tag"] if deed == "get" else True)
        except (SessionMissing, errors.SessionExists):
            names.ok(op, None if deed == "get" else False)
        except (Gone, StoreUnavailable):
            names.info(op)

    async def append(self, tag: str = "") -> None:
        """Appends at the end of the text."""
        await self._append(None, self._body(tag))

    async def resend(self, tag: str = "") -> None:
        """Appends after the last acknowledged text, and resends until it is acknowledged or refused."""
        offset = None if self.receipt is None else RECEIPTS.read(KEY, self.receipt).offset
        body = self._body(tag)
        while True:
            if await self._append(offset, body):
                return
            await asyncio.sleep(AGAIN_SECONDS)

    def _body(self, tag: str) -> bytes:
        return f"{tag}{'.' * detangle.randint(0, 7)}".encode()

    async def _append(self, offset: int | None, body: bytes) -> bool:
        """Whether it is over."""
        replica, began, receipt = self._replica(), detangle.now(), self.receipt if offset is not None else None
        try:
            state = await replica.call(replica.service.uploads.append(KEY, offset, _streamed(body), receipt))
        except (errors.OffsetMismatch, errors.ContentConflict):
            self.receipt = None
        except (SessionMissing, errors.TextRolledBack) as refusal:
            self._must_have_ended(refusal, began)
        except (Gone, StoreError, errors.Draining):
            return offset is None
        else:
            self.receipt = state.receipt
            acknowledged = RECEIPTS.read(KEY, state.receipt)
            life = self.scene.store.lives[acknowledged.lineage]
            begin = state.accepted_bytes - len(body) if offset is None else offset
            if life.text[begin : begin + len(body)] != body or life.text.count(body.rstrip(b".")) != 1:
                self.scene.store.wrong.append(f"{body!r} was acknowledged at {begin}; the text is {life.text!r}")
            life.promised = max(life.promised, acknowledged.offset)
            self.scene.amounts["appends acknowledged"] += 1
        return True

    async def ask(self, tag: str = "") -> None:
        replica, began, lives = self._replica(), detangle.now(), self.scene.store.lives
        floors = {lineage: life.promised for lineage, life in lives.items() if life.ended_at is None}
        try:
            state = await replica.call(_asked(replica.service, self.receipt))
        except (SessionMissing, errors.TextRolledBack) as refusal:
            self._must_have_ended(refusal, began)
        except (Gone, StoreError, ReaderStopped):
            pass
        else:
            self.scene.amounts["answers"] += 1
            possible = [
                (life.text, floors.get(lineage, 0)) for lineage, life in lives.items() if life.lived_since(began)
            ]
            if not any(state.offset >= floor and state == serial(text, state.offset) for text, floor in possible):
                self.scene.store.wrong.append(f"an answer from {state}; the text and what was promised: {possible}")

    def _must_have_ended(self, refusal: Exception, began: float) -> None:
        """This refusal is right only where the session was missing at some time, or is another one now."""
        lives = self.scene.store.lives
        if isinstance(refusal, errors.TextRolledBack):
            assert self.receipt is not None
            gone = lives[RECEIPTS.read(KEY, self.receipt).lineage].ended_at is not None
            self.receipt = None
        else:
            gone = not any(life.ended_at is None and life.born_at < began for life in lives.values())
        if not gone:
            self.scene.store.wrong.append(
                f"{self.doing} was refused from {began:.3f} on, the session is there: {refusal!r}"
            )

    def _replica(self) -> Replica:
        return detangle.choice(self.scene.replicas)


async def _asked(service: SessionService, receipt: str | None) -> Checkpoint:
    """What a question would be answered from."""
    admitted = await service.queries.admit(Query(KEY.tenant, (), KEY, receipt))
    return (await service.queries.memory_for_query(admitted)).state


async def _streamed(body: bytes) -> AsyncIterator[Passage]:
    yield Passage(body)
