"""How a state becomes a stored checkpoint, and a stored checkpoint a state again.

It knows the store's values and the model's, and nothing of when either is due.
"""

from __future__ import annotations

import asyncio
import logging
import time

from model.checkpoint import Checkpoint, CheckpointError, decode, encode
from model.weights import LoadedModel
from server.ingest.checkpoint_policy import CheckpointRate
from server.ingest.resident_session import Quarantined, ReadState, ResidentSession
from server.observability.metrics import Metrics
from server.store.base import Recovery, Store, StoredCheckpoint, StoreError
from server.store.text_hash import EMPTY_CHAIN

log = logging.getLogger(__name__)


class Checkpointer:
    """Stores and restores the states of sessions at hand."""

    def __init__(self, store: Store, loaded: LoadedModel, metrics: Metrics, pace: CheckpointRate) -> None:
        self._store, self._loaded, self._metrics, self._pace = store, loaded, metrics, pace
        self._initial = loaded.model.initial_memory(1)

    async def store(self, live: ResidentSession) -> None:
        """Checkpoints the state, unless its memory is stored already: a tail alone comes back from the journal."""
        reached, stored, held = live.reached, live.stored, live.held
        if reached is None or stored is None or held is None or reached.state.segments == stored.state.segments:
            return
        # Read again from an older checkpoint, for the newest is damaged, it may not have come so far yet.
        if reached.state.offset < live.stored_offset:
            return
        began = time.perf_counter()
        state = reached.state
        value = await asyncio.to_thread(encode, state, self._loaded.fingerprint)
        newest = StoredCheckpoint(
            live.version + 1, state.offset, value, state.tokens, state.segments, state.memory.nbytes, reached.chain
        )
        await asyncio.sleep(self._pace.wait_seconds(len(value), time.monotonic()))
        storing = time.perf_counter()
        await self._store.checkpoint(held.lease, newest, time.time())
        live.version, live.stored, live.stored_offset = newest.version, reached, state.offset
        live.stored_at, live.unstored_since = time.monotonic(), None
        # The time that other work had meanwhile counts too: the busier the server, the rarer.
        live.storing_seconds = time.perf_counter() - storing
        self._metrics.checkpoint_seconds.observe(time.perf_counter() - began)

    async def restore(self, live: ResidentSession) -> None:
        """The newest sound state: a checkpoint, or the beginning where the journal still reaches back to it."""
        began = time.perf_counter()
        # The older one is fetched only where the newest can not be used.
        recovery = await self._store.recover(live.key, 1)
        state, damaged = await self._usable(recovery)
        if state is None and recovery.record.version > 1:
            recovery = await self._store.recover(live.key)
            state, damaged = await self._usable(recovery)
        if recovery.record.quarantined:
            raise Quarantined(recovery.record.quarantined)
        if state is None:
            if recovery.journal_offset > 0:
                raise await self.quarantine(live, "; ".join(damaged) or "no checkpoint is left")
            state = ReadState(Checkpoint.empty(self._initial), EMPTY_CHAIN)
        live.stored = state
        if damaged:
            log.error("damaged values were found and not used: %s", "; ".join(damaged))
        live.reached, live.restored_under = live.stored, live.held
        live.taken_bytes, live.unstored_since = 0, None
        live.version, live.stored_offset = recovery.record.version, recovery.record.read_bytes
        live.stored_at = time.monotonic()
        live.target = max(live.target, recovery.record.accepted_bytes)
        live.restore_seconds = time.perf_counter() - began
        self._metrics.memory_load_seconds.labels(source="store").observe(live.restore_seconds)
        live.report()

    async def _usable(self, recovery: Recovery) -> tuple[ReadState | None, list[str]]:
        """The newest state that can be read on from, and what was found damaged on the way to it."""
        damaged = list(recovery.damaged)
        for stored in recovery.checkpoints:
            if stored.offset < recovery.journal_offset:
                damaged.append(f"the journal behind offset {stored.offset} is not whole")
                continue
            try:
                state = await asyncio.to_thread(decode, stored.value, self._loaded.fingerprint, self._initial)
                return ReadState(state, stored.chain), damaged
            except CheckpointError as error:
                damaged.append(f"checkpoint {stored.version}: {error}")
        return None, damaged

    async def quarantine(self, live: ResidentSession, reason: str) -> Quarantined:
        """Marks the session as not to be used."""
        log.error("session quarantined: %s", reason)
        try:
            if (await self._store.get(live.key)).lineage != live.lineage:
                return Quarantined(reason)
            await self._store.quarantine(live.key, reason, time.time())
        except StoreError as error:
            log.warning("the quarantine could not be stored: %s", error)
        return Quarantined(reason)
