"""What the store's tests share: every store that keeps the contract."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.store import open_store
from server.store.contract import Store
from server.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """Each store in turn, empty."""
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/data"
    opened = await open_store(url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """The embedded store, in the folder `data` of the test's own."""
    opened = await SqliteStore.open(tmp_path / "data")
    yield opened
    await opened.close()
