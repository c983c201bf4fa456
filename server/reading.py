"""Reading: accepted text becomes memory, session by session, in the background, and is checkpointed on the way.

It knows the store, the engine and the session's state; it knows nothing of HTTP.

A session is read in stints: a bounded number of segments, then a checkpoint, then the next session's turn. The
state is a value, so whoever answers from it keeps it, whatever reading does meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time

from model.checkpoint import Checkpoint, CheckpointError, decode, encode
from model.weights import LoadedModel
from server.engine import Engine, EngineStopped
from server.live import Halted, LiveSession, Origin, Quarantined
from server.residents import Residents
from server.settings import Settings
from server.store.contract import (
    DamagedValue,
    SessionKey,
    SessionMissing,
    StaleCheckpoint,
    Store,
    StoredCheckpoint,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from server.telemetry import Telemetry

log = logging.getLogger(__name__)

JOURNAL_BYTES = 256 * 1024
# A turn of the engine for one session, some 64 segments of English: long enough that the time between turns does
# not count, short enough that little is read again after a halt.
TURN_BYTES = 16 * 1024
RETRY_SECONDS = 1.0


class Reading:
    """Keeps every session's state up with its accepted text."""

    def __init__(
        self, store: Store, engine: Engine, loaded: LoadedModel, settings: Settings, telemetry: Telemetry
    ) -> None:
        self._store, self._engine, self._loaded, self._settings = store, engine, loaded, settings
        self._telemetry = telemetry
        self._initial = loaded.model.initial_memory(1)
        self._slots = asyncio.Semaphore(settings.reading_sessions_max)
        self.residents: Residents[SessionKey, LiveSession] = Residents(settings.resident_bytes)
        self._halted = False

    @property
    def behind_bytes(self) -> int:
        """Accepted text of all sessions at hand that has not been read."""
        return sum(live.behind_bytes for live in self.residents)

    def wake(self, key: SessionKey, accepted_bytes: int, read_bytes: int = 0) -> LiveSession:
        """Sees to it that the session is read up to `accepted_bytes`, of which `read_bytes` are known to be stored."""
        live = self.residents.use(key)
        if live is None:
            live = LiveSession(key, stored_offset=read_bytes)
            self.residents.put(key, live)
        live.target = max(live.target, accepted_bytes)
        if live.task is None and not self._halted and (live.state is None or live.offset < live.target):
            live.failure = None
            live.task = asyncio.create_task(self._run(live), name=f"read {key.id}")
        else:
            live.report()
        return live

    async def reach(self, key: SessionKey, offset: int) -> tuple[Checkpoint, LiveSession, Origin]:
        """The session's state once it covers `offset`, and where it came from.

        Raises `Quarantined`, `SessionMissing`, `Halted`, or the store's failure.
        """
        live = self.wake(key, offset)
        at_hand = live.state is not None
        while live.state is None or live.offset < offset:
            progressed = live.progressed
            if live.task is None:
                if live.failure is not None:
                    raise live.failure
                if self._halted:
                    raise Halted("the server is shutting down before the text was read")
                live = self.wake(key, offset)
            await progressed.wait()
        return live.state, live, Origin("device", 0.0) if at_hand else Origin("store", live.restore_seconds)

    async def room(self, key: SessionKey, behind_bytes_max: int) -> None:
        """Returns when less than that is left to be read, or this session has nothing left, or reading has ended."""
        while self.behind_bytes >= behind_bytes_max and not self._halted:
            live = self.residents.use(key)
            if live is None or live.task is None:
                return
            await live.progressed.wait()

    async def forget(self, key: SessionKey) -> None:
        """Drops the session and ends its reading."""
        if (live := self.residents.drop(key)) is not None and live.task is not None:
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

    async def _run(self, live: LiveSession) -> None:
        """Reads until nothing is left to read and what was read is stored."""
        try:
            while not self._halted:
                async with self._slots:
                    if live.state is None:
                        await self._restore(live)
                    try:
                        await self._stint(live)
                    except StaleCheckpoint:
                        # Somebody else moved the session on: what is stored is right, what is here is not.
                        live.state = None
                        continue
                self.residents.trim()
                if live.offset < live.target:
                    continue
                progressed = live.progressed
                if not await _set_within(progressed, self._settings.idle_seconds) and live.offset >= live.target:
                    break
            await self._store_memory(live)
        except asyncio.CancelledError:
            live.failure = SessionMissing("the session was deleted while its text was read")
            raise
        except DamagedValue as error:
            live.failure = await self._quarantine(live, str(error))
        except (Quarantined, SessionMissing, EngineStopped) as error:
            live.failure = error
            self.residents.drop(live.key)
        except StoreError as error:
            log.warning("reading stopped for now: %s", error)
            live.failure = error
            self._telemetry.store_errors.labels(op="read").inc()
            if isinstance(error, StoreUnavailable | StoreFull):
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry, live)
            else:
                self.residents.drop(live.key)
        except Exception as error:
            log.exception("reading failed")
            live.failure = error
            self.residents.drop(live.key)
        finally:
            live.task = None
            live.report()
            # Text that came while the last checkpoint was written.
            if live.failure is None and not self._halted and live.offset < live.target:
                self.wake(live.key, live.target)
            self.residents.trim()

    def _retry(self, live: LiveSession) -> None:
        if not self._halted and live.task is None and self.residents.use(live.key) is live:
            live.failure = None
            live.task = asyncio.create_task(self._run(live), name=f"read {live.key.id}")

    async def _stint(self, live: LiveSession) -> None:
        """Reads until the memory is due to be stored, and stores it; or until the text ends."""
        while not self._halted:
            assert live.state is not None
            data = await self._store.journal(live.key, live.offset, JOURNAL_BYTES)
            if not data:
                return
            for start in range(0, len(data), TURN_BYTES):
                await self._turn(live, data[start : start + TURN_BYTES])
                if self._halted:
                    return
                if self._due(live):
                    await self._store_memory(live)
                    return

    async def _turn(self, live: LiveSession, data: bytes) -> None:
        """Takes `data` into the state: whole segments into the memory, the rest into the tail."""
        state = live.state
        assert state is not None
        ids, pending = await asyncio.to_thread(self._loaded.tokenizer.advance, state.pending, data)
        step = self._loaded.model.config.segment_tokens
        unread = [*state.tail, *ids]
        whole = len(unread) // step
        result = await self._engine.read(state.memory, [unread[i * step : (i + 1) * step] for i in range(whole)])
        if result.segments < whole:
            # Halted inside the turn: the state before it stands, and the journal has the text.
            return
        live.state = Checkpoint(
            memory=result.memory,
            tail=tuple(unread[whole * step :]),
            pending=pending,
            offset=state.offset + len(data),
            tokens=state.tokens + len(ids),
            segments=state.segments + whole,
        )
        self._telemetry.read_tokens.inc(len(ids))
        live.report()

    def _due(self, live: LiveSession) -> bool:
        if live.state is None or live.state.segments == live.stored_segments:
            return False
        segments = live.state.segments - live.stored_segments
        age_seconds = time.monotonic() - live.stored_at
        return segments >= self._settings.checkpoint_segments or age_seconds >= self._settings.checkpoint_seconds

    async def _store_memory(self, live: LiveSession) -> None:
        """Checkpoints the state, unless its memory is stored already: a tail alone comes back from the journal."""
        state = live.state
        if state is None or state.segments == live.stored_segments or state.offset < live.stored_offset:
            return
        began = time.perf_counter()
        value = await asyncio.to_thread(encode, state, self._loaded.fingerprint)
        stored = StoredCheckpoint(
            live.version + 1, state.offset, value, state.tokens, state.segments, state.memory.nbytes
        )
        await self._store.checkpoint(live.key, stored, time.time())
        live.version, live.stored_segments, live.stored_offset = stored.version, state.segments, state.offset
        live.stored_at = time.monotonic()
        self._telemetry.checkpoint_seconds.observe(time.perf_counter() - began)

    async def _restore(self, live: LiveSession) -> None:
        """The newest sound state: a checkpoint, or the beginning where the journal still reaches back to it."""
        began = time.perf_counter()
        recovery = await self._store.recover(live.key)
        if recovery.record.quarantined:
            raise Quarantined(recovery.record.quarantined)
        damaged = list(recovery.damaged)
        for stored in recovery.checkpoints:
            if stored.offset < recovery.journal_offset:
                damaged.append(f"the journal behind offset {stored.offset} is not whole")
                continue
            try:
                live.state = await asyncio.to_thread(decode, stored.value, self._loaded.fingerprint, self._initial)
                break
            except CheckpointError as error:
                damaged.append(f"checkpoint {stored.version}: {error}")
        else:
            if recovery.journal_offset > 0:
                raise await self._quarantine(live, "; ".join(damaged) or "no checkpoint is left")
            live.state = Checkpoint(self._initial, (), b"", 0, 0, 0)
        if damaged:
            log.error("damaged values were found and not used: %s", "; ".join(damaged))
        live.version, live.stored_offset = recovery.record.version, recovery.record.read_bytes
        live.stored_segments, live.stored_at = live.state.segments, time.monotonic()
        live.target = max(live.target, recovery.record.accepted_bytes)
        live.restore_seconds = time.perf_counter() - began
        self._telemetry.memory_load_seconds.labels(source="store").observe(live.restore_seconds)
        live.report()

    async def _quarantine(self, live: LiveSession, reason: str) -> Quarantined:
        """Marks the session as not to be used, and drops it."""
        log.error("session quarantined: %s", reason)
        self.residents.drop(live.key)
        try:
            await self._store.quarantine(live.key, reason, time.time())
        except StoreError as error:
            log.warning("the quarantine could not be stored: %s", error)
        return Quarantined(reason)


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event is set before so many seconds are over."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
