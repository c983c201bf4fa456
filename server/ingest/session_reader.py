"""One session's reader: the task that turns the session's accepted text into memory, and checkpoints it on the way.

A state machine, one method for each state; the states and the table of transitions are in `reader_state.py`. Text is
read in time slices: until a checkpoint is due and stored, or no text is left. The memory is a value: an answer that
uses it keeps it, whatever the reader does meanwhile. Under a new lease, reading continues from the store's newest
checkpoint.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from server.engine.engine import EngineStopped
from server.ingest.errors import MemoryDamaged, ReaderDropped
from server.ingest.lease_manager import HeldLease
from server.ingest.reader_state import RUNNING, WITH_PLACE, State, transition
from server.ingest.session_progress import Progress
from server.ingest.shared import Shared
from server.ingest.text_reader import JOURNAL_BYTES, steps
from server.store import errors as store
from server.store.base import Lease, SessionRecord

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
# How long another replica has to take a lease that was released for it, and how often a held one is asked for.
HAND_OVER_SECONDS = 0.1


class Owner(Protocol):
    """The registry, as a reader sees it."""

    @property
    def stopping(self) -> bool: ...

    def progressed(self, reader: SessionReader, before: Progress) -> None:
        """The reader's progress has changed."""

    def ended(self, reader: SessionReader) -> None:
        """The reader's task has ended; its state says how."""


class SessionReader:
    """Reads one session. Only the reader itself changes its attributes."""

    def __init__(self, record: SessionRecord, shared: Shared, owner: Owner) -> None:
        self.key = record.key
        self.progress = Progress(record.lineage, stored_bytes=record.read_bytes)
        self.state = State.STOPPED
        self.failure: Exception | None = None
        self.restore_seconds = 0.0
        # Of a monotonic clock: since when there has been a memory here that is not stored.
        self.unstored_since: float | None = None
        self._shared = shared
        self._owner = owner
        self._wanted_here = False
        self._held: HeldLease | None = None
        self._restored_under: Lease | None = None
        self._stored_at = 0.0
        self._storing_seconds = 0.0
        self._store_is_full = False
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def running(self) -> bool:
        """Whether there is a task; when it ends, it wakes all who wait."""
        return self._task is not None

    def wake(self, record: SessionRecord, ask: bool) -> None:
        """Reads the text of this record; with `ask`, the lease is asked for if another replica holds it."""
        self._move(self.progress.accepts(record))
        self._wanted_here = self._wanted_here or ask
        if self._task is None and self._text_left:
            self._start()
        else:
            self.notify()

    def notify(self) -> None:
        """Wakes everyone who waits for a change, the reader itself included."""
        event, self._changed = self._changed, asyncio.Event()
        event.set()

    async def change(self) -> None:
        """Returns at the next change."""
        await self._changed.wait()

    async def ended(self) -> None:
        """Returns when there is no task, or when the present one has ended."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def drop(self) -> None:
        """Ends the reader for good; a task that is interrupted leaves `ReaderDropped` as the failure."""
        if self.state in RUNNING and self._task is not None:
            self._task.cancel()
        elif self.state is not State.FAILED:
            self._enter(State.DROPPED)

    @property
    def _text_left(self) -> bool:
        """Whether there is text to read, and a server to read it."""
        return not (self._owner.stopping or self.progress.complete)

    def _start(self) -> None:
        self.failure = None
        self._enter(State.QUEUED)
        self._task = asyncio.create_task(self._run(), name=f"read {self.key.id}")
        self._task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        """Called when the task has ended, even one that was cancelled before it began."""
        self._task = None
        if task.cancelled():
            self.failure = ReaderDropped()
            self._enter(State.DROPPED)
        elif error := task.exception():
            log.error("a reader failed where it handled a failure", exc_info=error)
            self._enter(State.FAILED)
        self.notify()
        if self.state is State.STOPPED and self._wanted_here and self._text_left:
            # Text arrived when the task had decided to end.
            self._start()
        self._owner.ended(self)

    def _enter(self, state: State) -> None:
        self.state = transition(self.state, state)

    def _move(self, progress: Progress) -> None:
        before, self.progress = self.progress, progress
        self._owner.progressed(self, before)

    async def _run(self) -> None:
        try:
            while self.state in RUNNING:
                if self.state is State.QUEUED:
                    async with self._shared.places.of(self.key.tenant):
                        await self._step()
                        while self.state in WITH_PLACE:
                            await self._step()
                else:
                    await self._step()
        finally:
            self._wanted_here = False
            await self._release()

    async def _step(self) -> None:
        """One state's work, and the transition that follows from it."""
        try:
            self._enter(await WORK[self.state](self))
        except Exception as error:
            after = await self._failed(error)
            self._wanted_here = False
            await self._release()
            self._enter(after)

    async def _admit(self) -> State:
        """What to do with the place that was given."""
        if self._owner.stopping:
            return State.HANDING_OVER
        if self._held is None:
            return State.ACQUIRING
        return State.HANDING_OVER if self._held.over else State.READING

    async def _acquire(self) -> State:
        """Takes the lease; where another replica holds it, waits for it only if the session is wanted here."""
        try:
            self._held = await self._shared.leases.take(self.key, self._wanted_here, self.notify)
        except store.LeaseHeld:
            return State.WAITING_FOR_LEASE if self._wanted_here else State.STOPPED
        record = await self._same_session()
        self._move(self.progress.accepts(record))
        if not self.progress.is_newest(record):
            return State.RESTORING
        self._move(replace(self.progress, read=self.progress.stored, engine_bytes=0))
        self.unstored_since = None
        return State.READING

    async def _restore(self) -> State:
        assert self._held is not None
        restored = await self._shared.checkpointer.restore(self.key, self.progress.lineage)
        self._restored_under = self._held.lease
        self._stored_at, self.unstored_since = time.monotonic(), None
        self.restore_seconds = restored.seconds
        record = restored.record
        self._move(self.progress.accepts(record).restored(restored.read, record.version, record.read_bytes))
        self.notify()
        return State.READING

    async def _read(self) -> State:
        """Reads for one time slice; the place is given up after it, so that other sessions are read too."""
        assert self._held is not None
        try:
            await self._read_slice(self._held)
        except (store.StaleCheckpoint, store.OffsetMismatch):
            # Another replica has read on, or the store was rolled back: the stored state is right.
            self._forget()
            await self._release()
            return State.QUEUED
        if self._held.over or self._owner.stopping:
            return State.HANDING_OVER
        return State.IDLE if self.progress.complete else State.QUEUED

    async def _idle(self) -> State:
        assert self._held is not None
        seconds = max(self._shared.idle_seconds, RETRY_SECONDS * self._store_is_full)
        try:
            await asyncio.wait_for(self._changed.wait(), seconds)
        except TimeoutError:
            if self.progress.complete:
                return State.HANDING_OVER
        return State.HANDING_OVER if self._held.over or self._owner.stopping else State.QUEUED

    async def _hand_over(self) -> State:
        """Stores the memory and releases the lease; another replica that asked for it gets some time to take it.

        While the store is full the lease is kept, so that the memory can be stored later.
        """
        held = self._held
        if held is not None:
            if held.lost:
                self._forget()
            try:
                await self._store(held)
            except store.StaleCheckpoint:
                self._forget()
            if self._store_is_full and not (held.over or self._owner.stopping):
                return State.IDLE
            await self._release()
            if held.over:
                await asyncio.sleep(HAND_OVER_SECONDS)
        return self._without_lease()

    async def _wait_for_lease(self) -> State:
        await asyncio.sleep(HAND_OVER_SECONDS)
        return self._without_lease()

    def _without_lease(self) -> State:
        return State.QUEUED if self._text_left else State.STOPPED

    async def _failed(self, error: Exception) -> State:
        """What an error means for the session; it stays in `failure` for those who wait for the text."""
        self.failure = error
        match error:
            case store.StoreUnavailable() | store.StoreFull():
                log.warning("reading stopped for now: %s", error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._retry)
                return State.WAITING_FOR_STORE
            case store.DamagedValue():
                quarantine = self._shared.checkpointer.quarantine
                self.failure = await quarantine(self.key, self.progress.lineage, str(error))
            case MemoryDamaged() | store.SessionMissing() | store.SessionExpired() | EngineStopped():
                pass
            case store.StoreError():
                log.warning("reading stopped: %s", error)
            case _:
                log.exception("reading session %r failed", self.key.id)
        return State.FAILED

    def _retry(self) -> None:
        if self.state is State.WAITING_FOR_STORE and self._task is None and not self._owner.stopping:
            self._wanted_here = True
            self._start()

    async def _read_slice(self, held: HeldLease) -> None:
        """Reads until a checkpoint is due, and stores it; or until the text ends, or the lease does."""
        while not (self._owner.stopping or held.over):
            offset, limit = self.progress.offset, min(JOURNAL_BYTES, self.progress.known_bytes)
            data = await self._shared.store.journal(self.key, offset, limit)
            if not data:
                if await self._compare(held):
                    continue
                return
            for part, document in steps(data, offset, self.progress.marks):
                await self._read_step(part, document)
                if self._owner.stopping or held.over:
                    return
                age_seconds = time.monotonic() - self._stored_at
                if self._shared.policy.is_due(self.progress.unstored_segments, age_seconds, self._storing_seconds):
                    await self._store(held)
                    return

    async def _compare(self, held: HeldLease) -> bool:
        """Whether the store has more text; refuses what was read when it says that its text is another one."""
        record = await self._same_session()
        if record.accepted_bytes == self.progress.offset and not self.progress.follows(record):
            if self._restored_under == held.lease:
                raise store.DamagedValue(f"the text of session {self.key.id!r} up to offset {self.progress.offset}")
            raise store.StaleCheckpoint("the store has another text than was read")
        self._move(self.progress.accepts(record))
        return self.progress.offset < record.accepted_bytes

    async def _same_session(self) -> SessionRecord:
        """The record, unless it is that of another session by now."""
        record = await self._shared.store.get(self.key)
        if record.lineage != self.progress.lineage:
            raise store.SessionMissing("the session was deleted and created anew while its text was read")
        return record

    async def _read_step(self, data: bytes, document: str | None) -> None:
        assert self.progress.read is not None
        self._move(replace(self.progress, engine_bytes=len(data)))
        read = await self._shared.text.read(self.progress.read, data, self.key.tenant, document)
        if read is None:
            # Stopped inside the step: the state before it stands, and the journal has the text.
            return
        if self.unstored_since is None and read.state.segments > self.progress.read.state.segments:
            self.unstored_since = time.monotonic()
        self._move(replace(self.progress, read=read, engine_bytes=0))
        self.notify()

    async def _store(self, held: HeldLease) -> None:
        """Stores the memory. A full store does not stop the reading: the next checkpoint that is due is tried."""
        self._store_is_full = False
        try:
            stored = await self._shared.checkpointer.store(held.lease, self.progress)
        except store.StoreFull as error:
            log.warning("the memory of session %r is not stored until there is room: %s", self.key.id, error)
            self._store_is_full, self._stored_at = True, time.monotonic()
            return
        if stored is not None:
            self._stored_at, self.unstored_since = time.monotonic(), None
            self._storing_seconds, offset = stored.seconds, stored.read.state.offset
            self._move(replace(self.progress, stored=stored.read, version=stored.version, stored_bytes=offset))

    async def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            await self._shared.leases.release(held)

    def _forget(self) -> None:
        """Drops the resident state."""
        self._move(self.progress.without_read())
        self.unstored_since = None


WORK: dict[State, Callable[[SessionReader], Awaitable[State]]] = {
    State.QUEUED: SessionReader._admit,
    State.ACQUIRING: SessionReader._acquire,
    State.RESTORING: SessionReader._restore,
    State.READING: SessionReader._read,
    State.IDLE: SessionReader._idle,
    State.HANDING_OVER: SessionReader._hand_over,
    State.WAITING_FOR_LEASE: SessionReader._wait_for_lease,
}
