"""Stores memories as checkpoints, decides when, and restores them."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NamedTuple

from model.checkpoint import Checkpoint, CheckpointError
from server.ingest.errors import MemoryDamaged
from server.ingest.memories import Memories, new_bytes
from server.ingest.session_progress import Progress, ReadState
from server.observability.metrics import Metrics
from server.store.base import DamagedValue, Lease, Recovery, SessionKey, SessionRecord, Store, StoreError
from server.store.text_hash import EMPTY_CHAIN

log = logging.getLogger(__name__)

# The share of the time between two checkpoints of a session that storing one may take.
STORING_SHARE = 0.05


class CheckpointPolicy:
    """When a memory is stored: within a byte rate for the whole server, and within a share of each session's time."""

    def __init__(self, segments_min: int, age_seconds_max: float, bytes_per_second: float) -> None:
        self._segments_min = segments_min
        self._age_seconds_max = age_seconds_max
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def is_due(self, segments: int, age_seconds: float, last_seconds: float) -> bool:
        """Whether a memory with so many unstored segments is old, or has read enough to pay for storing it.

        `last_seconds` is how long it took to store the last one.
        """
        if segments == 0:
            return False
        affordable = last_seconds <= STORING_SHARE * age_seconds
        return age_seconds >= self._age_seconds_max or (segments >= self._segments_min and affordable)

    def wait_seconds(self, size_bytes: int, now_seconds: float) -> float:
        """How long to wait before so many bytes are stored; they count as stored then."""
        begin = max(self._free_at, now_seconds)
        self._free_at = begin + size_bytes / self._bytes_per_second
        return begin - now_seconds


class Stored(NamedTuple):
    """A memory that has been stored as checkpoint `version`, and how long that took, other work's time included."""

    version: int
    read: ReadState
    seconds: float


class Restored(NamedTuple):
    """The newest sound state of a session, the store's record, and how long it took."""

    read: ReadState
    record: SessionRecord
    seconds: float


class Checkpointer:
    """Stores and restores the memories of resident sessions."""

    def __init__(self, store: Store, memories: Memories, metrics: Metrics, policy: CheckpointPolicy) -> None:
        self._store = store
        self._memories = memories
        self._metrics = metrics
        self._policy = policy

    async def store(self, lease: Lease, progress: Progress) -> Stored | None:
        """Stores the memory; None where it is stored already: a tail alone comes back from the journal."""
        read = progress.read
        if read is None or progress.unstored_segments == 0:
            return None
        state = read.state
        # After a restore from an older checkpoint (the newest is damaged) the text is not yet read as far again.
        if state.offset < progress.stored_bytes:
            return None
        began = time.perf_counter()
        newest = await self._memories.encode(read, progress.version + 1)
        before = progress.stored.state.memory.parts if progress.stored else ()
        size_bytes = new_bytes(newest, before)
        await asyncio.sleep(self._policy.wait_seconds(size_bytes, time.monotonic()))
        storing = time.perf_counter()
        await self._store.checkpoint(lease, newest, time.time())
        ended = time.perf_counter()
        self._metrics.checkpoint_seconds.observe(ended - began)
        self._metrics.checkpoint_bytes.inc(size_bytes)
        # This includes the time that other work took meanwhile: a busy server stores less often.
        return Stored(newest.version, read, ended - storing)

    async def restore(self, key: SessionKey, lineage: str) -> Restored:
        """The newest sound state: a checkpoint, or the beginning where the journal still reaches back to it.

        Raises `MemoryDamaged` where there is none; the session is quarantined then.
        """
        began = time.perf_counter()
        # The older one is fetched only where the newest cannot be used.
        recovery = await self._store.recover(key, 1)
        read, damaged = await self._usable(recovery)
        if read is None and recovery.record.version > 1:
            recovery = await self._store.recover(key)
            read, damaged = await self._usable(recovery)
        record = recovery.record
        if record.quarantined:
            raise MemoryDamaged(record.quarantined)
        if read is None:
            if recovery.journal_offset > 0:
                raise await self.quarantine(key, lineage, "; ".join(damaged) or "no checkpoint is left")
            read = ReadState(Checkpoint.empty(self._memories.initial), EMPTY_CHAIN)
        if damaged:
            log.error("damaged values were found and not used: %s", "; ".join(damaged))
        seconds = time.perf_counter() - began
        self._metrics.memory_load_seconds.labels(source="store").observe(seconds)
        return Restored(read, record, seconds)

    async def _usable(self, recovery: Recovery) -> tuple[ReadState | None, list[str]]:
        """The newest state that can be read on from, and what was found damaged before it."""
        damaged = list(recovery.damaged)
        for stored in recovery.checkpoints:
            if stored.offset < recovery.journal_offset:
                damaged.append(f"the journal behind offset {stored.offset} is not whole")
                continue
            try:
                state = await self._memories.open(recovery.record.key, stored)
            except (CheckpointError, DamagedValue) as error:
                damaged.append(f"checkpoint {stored.version}: {error}")
                continue
            return ReadState(state, stored.info.chain), damaged
        return None, damaged

    async def quarantine(self, key: SessionKey, lineage: str, reason: str) -> MemoryDamaged:
        """Marks the session as not to be used, unless it is another one by now; the error that says so."""
        log.error("session quarantined: %s", reason)
        try:
            if (await self._store.get(key)).lineage == lineage:
                await self._store.quarantine(key, reason, time.time())
        except StoreError as error:
            log.warning("the quarantine could not be stored: %s", error)
        return MemoryDamaged(reason)
