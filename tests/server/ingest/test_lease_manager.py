"""A lease that was let go of keeps nothing at hand."""

from __future__ import annotations

import gc
import weakref

import pytest
from server.ingest.resident_session import ResidentSession

from server.ingest.lease_manager import LeaseManager
from server.store import open_store
from tests.server.store.samples import record


@pytest.mark.anyio
async def test_a_session_that_is_dropped_is_gone_without_a_collection() -> None:
    """It remembers under which lease it was restored; its memory must not wait for the collector all the same."""
    store = await open_store("memory://")
    new = record()
    await store.create(new)
    leasing, live = LeaseManager(store), ResidentSession(new.key, new.lineage)
    gc.disable()
    try:
        live.restored_under = await leasing.take(new.key, ask=False, tell=live.report)
        await leasing.release(live.restored_under)
        gone = weakref.ref(live)
        del live
        assert gone() is None
    finally:
        gc.enable()
    await store.close()
