"""Failures of the store are counted by operation; what its contract refuses is an answer, and not counted as one."""

import pytest

from server.observability.instrumented_store import InstrumentedStore
from server.observability.metrics import Metrics
from server.store.base import LEASE_SECONDS, SessionMissing, StaleCheckpoint, StoreUnavailable
from server.store.in_memory import MemoryStore
from tests.server.store.samples import checkpoint, key, record

pytestmark = pytest.mark.anyio


async def test_a_failure_is_counted_under_its_operation_and_a_refusal_is_not() -> None:
    metrics = Metrics()
    store = InstrumentedStore(MemoryStore(), metrics)
    with pytest.raises(SessionMissing):
        await store.get(key())
    assert metrics.store_errors.labels(op="get")._value.get() == 0
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.get(key())
    assert metrics.store_errors.labels(op="get")._value.get() == 1


async def test_a_refused_checkpoint_is_counted_by_its_reason() -> None:
    metrics = Metrics()
    store = InstrumentedStore(MemoryStore(), metrics)
    await store.create(record())
    lease = await store.lease(key(), "reader", LEASE_SECONDS)
    with pytest.raises(StaleCheckpoint):
        await store.checkpoint(lease, checkpoint(3, 0), at=2.0)
    assert metrics.checkpoints_refused.labels(reason="stale_checkpoint")._value.get() == 1
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.checkpoint(lease, checkpoint(1, 0), at=2.0)
    assert metrics.checkpoints_refused.labels(reason="store_unavailable")._value.get() == 0
    assert metrics.store_errors.labels(op="checkpoint")._value.get() == 1
