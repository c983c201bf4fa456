"""Reading: accepted text becomes memory, session by session, in the background, and is checkpointed on the way.

It knows the store, the engine and the session's state; it knows nothing of HTTP.

A session is read in stints: a bounded number of segments, then a checkpoint, then the next session's turn. The
state is a value, so whoever answers from it keeps it, whatever reading does meanwhile. What is read on from under a
new lease is always the store's newest checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
import time

from model.weights import LoadedModel
from server.engine.engine import Engine, EngineStopped
from server.engine.fair_semaphore import FairSemaphore
from server.ingest.backlog import Backlog
from server.ingest.checkpoint_policy import CheckpointRate, is_due
from server.ingest.checkpointer import Checkpointer
from server.ingest.lease_manager import LeaseManager
from server.ingest.resident_session import Halted, MemorySource, Quarantined, ReadState, ResidentSession, SessionDropped
from server.ingest.session_cache import SessionCache
from server.observability.metrics import Metrics
from server.settings import Settings
from server.store.base import (
    DamagedValue,
    LeaseHeld,
    OffsetMismatch,
    SessionExpired,
    SessionKey,
    SessionMissing,
    SessionRecord,
    StaleCheckpoint,
    Store,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from server.store.text_hash import extended

log = logging.getLogger(__name__)

JOURNAL_BYTES = 256 * 1024
# A turn of the engine for one session, some 64 segments of English: long enough that the time between turns does
# not count, short enough that little is read again after a halt.
TURN_BYTES = 16 * 1024
RETRY_SECONDS = 1.0
# The time that another replica has to take the lease, and that one waits before it asks for it again.
HAND_OVER_SECONDS = 0.1


class Reading:
    """Keeps every session's state up with its accepted text."""

    def __init__(self, store: Store, engine: Engine, loaded: LoadedModel, settings: Settings, metrics: Metrics) -> None:
        self._store, self._engine, self._loaded, self._settings = store, engine, loaded, settings
        self._metrics = metrics
        self._keeping = Checkpointer(store, loaded, metrics, CheckpointRate(settings.checkpoint_bytes_per_second))
        self._slots = FairSemaphore(settings.reading_sessions_max)
        self._leasing = LeaseManager(store, settings.lease_seconds)
        self.residents: SessionCache[SessionKey, ResidentSession] = SessionCache(settings.resident_bytes)
        self.backlog = Backlog(self.residents)
        self._halted = False

    @property
    def halted(self) -> bool:
        """Whether reading has been told to end."""
        return self._halted

    @property
    def waiting_sessions(self) -> int:
        """How many sessions wait for a place to be read in."""
        return self._slots.waiting

    def wake(self, record: SessionRecord, ask: bool = True) -> ResidentSession:
        """Sees to it that the session is read up to its accepted text; here, if `ask`, whoever reads it now."""
        key = record.key
        live = self.residents.use(key)
        if live is None or live.lineage != record.lineage:
            if live is not None and live.task is not None:
                live.task.cancel()
            live = ResidentSession(key, record.lineage, stored_offset=record.read_bytes)
            self.residents.put(key, live)
        live.target = max(live.target, record.accepted_bytes)
        live.asked = live.asked or ask
        if live.task is None and not self._halted and (live.state is None or live.offset < live.target):
            self._start(live)
        else:
            live.report()
        return live

    async def reach(self, record: SessionRecord) -> tuple[ReadState, ResidentSession, MemorySource]:
        """The session's state once it covers the accepted text, and where it came from.

        Raises `Quarantined`, `SessionMissing`, `Halted`, or the store's failure.
        """
        if (found := self.residents.use(record.key)) is not None and not found.follows(record):
            await self._question(found, record)
        live = self.wake(record)
        at_hand = live.state is not None
        while not live.covers(record):
            if live.contradicts(record):
                await self._question(live, record)
            if live.task is None:
                if isinstance(live.failure, SessionDropped):
                    await self._still_there(record)
                elif live.failure is not None:
                    raise live.failure
                if self._halted:
                    raise Halted("the server is shutting down before the text was read")
                live = self.wake(record)
            # Taken now, for what was waited for may be another session at hand by now.
            if not live.covers(record):
                await live.progressed.wait()
        assert live.reached is not None
        return (
            live.reached,
            live,
            MemorySource("device", 0.0) if at_hand else MemorySource("store", live.restore_seconds),
        )

    async def _question(self, live: ResidentSession, record: SessionRecord) -> None:
        """Drops what was read here if the store has another text: it went back in time, or the session is a new one."""
        if live.contradicts(record) or not live.follows(await self._store.get(record.key)):
            log.warning("what was read of a session is not what the store has of it: it is read anew")
            await self.forget(live)

    async def _still_there(self, record: SessionRecord) -> None:
        """Raises `SessionMissing` unless the store still has this very session."""
        if (await self._store.get(record.key)).lineage != record.lineage:
            raise SessionMissing("the session was deleted while its text was read")

    async def room(self, key: SessionKey, behind_bytes_max: int) -> None:
        """Returns when its tenant has room for more, or this session has nothing left, or reading has ended."""
        while not self.backlog.has_room(key.tenant, behind_bytes_max) and not self._halted:
            live = self.residents.use(key)
            if live is None or live.task is None:
                return
            await live.progressed.wait()

    async def forget(self, live: ResidentSession) -> None:
        """Drops what is at hand of a session and ends its reading; whoever waits for it asks the store again."""
        self._drop(live)
        if live.task is not None:
            live.task.cancel()
            await asyncio.wait([live.task])

    async def close(self) -> None:
        """Stops reading at the next turn, stores every memory that is not stored yet, and returns."""
        self._halted = True
        self._engine.halt_reading()
        for live in self.residents:
            live.report()
        if tasks := [live.task for live in self.residents if live.task is not None]:
            await asyncio.wait(tasks)

    def _start(self, live: ResidentSession) -> None:
        live.failure = None
        live.task = asyncio.create_task(self._run(live), name=f"read {live.key.id}")
        live.task.add_done_callback(lambda task: self._ended(live, task))

    def _ended(self, live: ResidentSession, task: asyncio.Task[bool]) -> None:
        """Tells whoever waits; here, for a task that is cancelled before it begins has no other last word."""
        if task.cancelled():
            live.failure = SessionDropped()
        if live.task is task:
            live.task = None
        live.report()
        more = not task.cancelled() and (task.result() or live.asked) and live.offset < live.target
        if more and live.failure is None:
            self._retry(live)
        self.residents.trim()

    async def _run(self, live: ResidentSession) -> bool:
        """Reads until nothing is left to read and what was read is stored; whether text came meanwhile."""
        try:
            while not self._halted:
                async with self._slots.of(live.key.tenant):
                    if live.held is None and not await self._begin(live):
                        return False
                    if live.held is not None:
                        try:
                            await self._stint(live)
                        except (StaleCheckpoint, OffsetMismatch):
                            # Somebody else moved the session on, or the store went back: what is stored is right.
                            live.drop()
                            await self._let_go(live)
                            continue
                if live.held is None or live.held.over:
                    await self._hand_over(live)
                    if live.held is None and live.state is not None and live.offset >= live.target:
                        return False
                    continue
                self.residents.trim()
                # Told to end in the middle of a stint, it would wait for a word that has been said.
                if live.offset < live.target or self._halted:
                    continue
                progressed = live.progressed
                quiet = not await _set_within(progressed, self._settings.idle_seconds)
                if quiet and live.offset >= live.target:
                    break
            await self._keeping.store(live)
            return live.offset < live.target
        except StaleCheckpoint:
            live.drop()
        except DamagedValue as error:
            live.failure = await self._keeping.quarantine(live, str(error))
            self._drop(live)
        except (Quarantined, SessionMissing, SessionExpired, EngineStopped) as error:
            live.failure = error
            self._drop(live)
        except StoreError as error:
            log.warning("reading stopped for now: %s", error)
            live.failure = error
            if isinstance(error, StoreUnavailable | StoreFull):
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry, live)
            else:
                self._drop(live)
        except Exception as error:
            log.exception("reading failed")
            live.failure = error
            self._drop(live)
        finally:
            live.asked = False
            await self._let_go(live)
        return False

    async def _begin(self, live: ResidentSession) -> bool:
        """Takes the lease and the store's newest state; False where another reads it and nobody asks for it here."""
        try:
            live.held = await self._leasing.take(live.key, live.asked, live.report)
        except LeaseHeld:
            return live.asked
        record = await self._store.get(live.key)
        if record.lineage != live.lineage:
            raise SessionMissing("the session was deleted and created anew while its text was read")
        live.target = max(live.target, record.accepted_bytes)
        if live.is_newest(record):
            live.reached = live.stored
        else:
            await self._keeping.restore(live)
        return True

    async def _hand_over(self, live: ResidentSession) -> None:
        """Stores what was read for whoever asks for the session, and gives it the time to take the lease."""
        if live.held is not None:
            if live.held.lost:
                live.drop()
            await self._keeping.store(live)
            await self._let_go(live)
        await asyncio.sleep(HAND_OVER_SECONDS)

    def _drop(self, live: ResidentSession) -> None:
        if self.residents.use(live.key) is live:
            self.residents.drop(live.key)

    async def _let_go(self, live: ResidentSession) -> None:
        held, live.held = live.held, None
        if held is not None:
            await self._leasing.release(held)

    def _retry(self, live: ResidentSession) -> None:
        if not self._halted and live.task is None and self.residents.use(live.key) is live:
            live.asked = True
            self._start(live)

    async def _stint(self, live: ResidentSession) -> None:
        """Reads until the memory is due to be stored, and stores it; or until the text ends, or the lease does."""
        while not self._halted and live.held is not None and not live.held.over:
            data = await self._store.journal(live.key, live.offset, JOURNAL_BYTES)
            if not data:
                await self._compare(live)
                return
            for start in range(0, len(data), TURN_BYTES):
                await self._turn(live, data[start : start + TURN_BYTES])
                if self._halted or live.held.over:
                    return
                if self._due(live):
                    await self._keeping.store(live)
                    return

    async def _compare(self, live: ResidentSession) -> None:
        """Refuses what was read when the store says that its text, to the same end, is another one."""
        record = await self._store.get(live.key)
        if record.lineage != live.lineage:
            raise SessionMissing("the session was deleted and created anew while its text was read")
        if record.accepted_bytes == live.offset and not live.follows(record):
            if live.restored_under is live.held:
                raise DamagedValue(f"the text of session {live.key.id!r} up to offset {live.offset}")
            raise StaleCheckpoint("the store has another text than was read")

    async def _turn(self, live: ResidentSession, data: bytes) -> None:
        """Takes `data` into the state: whole segments into the memory, the rest into the tail."""
        assert live.reached is not None
        state, chain = live.reached
        (ids, pending), chain = await asyncio.to_thread(self._advance, state.pending, data, chain)
        advance = state.advance(ids, pending, len(data), self._loaded.model.config.segment_tokens)
        live.taken_bytes = len(data)
        result = await self._engine.read(state.memory, advance.segments, live.key.tenant)
        if result.segments < len(advance.segments):
            # Halted inside the turn: the state before it stands, and the journal has the text.
            return
        live.read_on(ReadState(advance.finish(result.memory), chain))
        self._metrics.read_tokens.inc(len(ids))
        live.report()

    def _advance(self, pending: bytes, data: bytes, chain: str) -> tuple[tuple[list[int], bytes], str]:
        return self._loaded.tokenizer.advance(pending, data), extended(chain, data)

    def _due(self, live: ResidentSession) -> bool:
        if live.state is None or live.stored is None:
            return False
        return is_due(
            live.state.segments - live.stored.state.segments,
            self._settings.checkpoint_segments,
            time.monotonic() - live.stored_at,
            self._settings.checkpoint_seconds,
            live.storing_seconds,
        )


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set before so many seconds are over."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
