"""Reads the store directly: records while clients are at work, and whole sessions at the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from threading import Event

import torch
from redis.exceptions import RedisError

from model import weights
from model.checkpoint import decode
from reliability.replicas.clients import Customer
from reliability.replicas.fleet import Fleet
from reliability.replicas.history import History, Left
from server.ingest.memories import fetched
from server.store import open_store
from server.store.base import SessionKey, Store, StoreUnavailable
from server.store.redis.names import names
from tests.server.ingest.test_kill_http import undisturbed

LOOK_SECONDS = 0.02
QUIET_SECONDS = 30.0
JOURNAL_BYTES = 1 << 30


class Observer:
    """A process beside the replicas, with their keys to the store."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._loaded = weights.load(fleet.weights, torch.device("cpu"))
        self.hand_overs = 0

    @contextmanager
    def watching(self, customers: list[Customer], history: History) -> Iterator[None]:
        over = Event()
        with ThreadPoolExecutor(1) as threads:
            watch = threads.submit(lambda: asyncio.run(self._watch(customers, history, over)))
            try:
                yield
            finally:
                over.set()
            watch.result()

    async def _watch(self, customers: list[Customer], history: History, over: Event) -> None:
        holders: dict[str, bytes] = {}
        async with self._store() as store:
            while not over.is_set():
                for session in (customer.session for customer in customers):
                    # While Valkey is dead there is no record.
                    with suppress(StoreUnavailable, RedisError):
                        began = time.monotonic()
                        record = await store.get(_key(session))
                        history.add(
                            session,
                            "the store",
                            began,
                            time.monotonic(),
                            accepted=record.accepted_bytes,
                            read=record.read_bytes,
                            version=record.version,
                        )
                        holder = self._fleet.valkey.command("HGET", names(_key(session)).lease, "holder")
                        self.hand_overs += holder not in (None, holders.get(session, holder))
                        holders[session] = holder
                await asyncio.sleep(LOOK_SECONDS)

    def left_of(self, customer: Customer, quiet_since: float) -> Left:
        return asyncio.run(self._left_of(customer, quiet_since))

    async def _left_of(self, customer: Customer, quiet_since: float) -> Left:
        key, step = _key(customer.session), self._loaded.model.config.segment_tokens
        async with self._store() as store:
            while True:
                record, waited_seconds = await store.get(key), time.monotonic() - quiet_since
                ids, _ = self._loaded.tokenizer.advance(b"", customer.document[: record.accepted_bytes])
                is_read = record.info.segments == len(ids) // step
                if is_read or waited_seconds > QUIET_SECONDS:
                    break
                await asyncio.sleep(LOOK_SECONDS)
            recovery = await store.recover(key)
            record = recovery.record
            memory = await fetched(store, key, recovery.checkpoints[0]) if recovery.checkpoints else None
            journal = await store.journal(key, recovery.journal_offset, JOURNAL_BYTES)
        serial = not recovery.damaged and not record.quarantined
        if memory is not None:
            found = decode(memory, self._loaded.fingerprint, self._loaded.model.initial_memory(1))
            alone = undisturbed(self._loaded, customer.document[: found.offset])
            same = (found.tail, found.pending, found.tokens) == (alone.tail, alone.pending, alone.tokens)
            serial = serial and same and found.segments == alone.segments and found.memory.equals(alone.memory)
        return Left(
            customer.session,
            customer.document,
            record.accepted_bytes,
            record.chain,
            record.read_bytes,
            recovery.journal_offset,
            journal,
            serial,
            None if is_read else waited_seconds,
        )

    @asynccontextmanager
    async def _store(self) -> AsyncIterator[Store]:
        store = await open_store(self._fleet.valkey.url, self._fleet.options)
        try:
            yield store
        finally:
            await store.close()


def _key(session: str) -> SessionKey:
    return SessionKey("default", session)
