"""The addresses of stores, and the refusal of all others."""

from pathlib import Path

import pytest

from server.store import open_store
from server.store.base import StoreUnavailable
from server.store.in_memory import MemoryStore
from server.store.sqlite.schema import FILE_NAME
from tests.server.store.conftest import keys_file

pytestmark = pytest.mark.anyio


async def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert isinstance(await open_store("memory://"), MemoryStore)
    for address, folder in (("sqlite:///data", "data"), (f"sqlite:///{tmp_path}/other/data", "other/data")):
        store = await open_store(address)
        await store.close()
        assert (tmp_path / folder / FILE_NAME).exists()


@pytest.mark.parametrize("scheme", ["redis", "rediss", "redis+sentinel", "redis+cluster"])
async def test_an_unreachable_redis_is_reported_without_its_password(tmp_path: Path, scheme: str) -> None:
    with pytest.raises(StoreUnavailable, match="check that it runs") as refusal:
        await open_store(f"{scheme}://user:secret@127.0.0.1:1", keys_file(tmp_path))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("address", ["", "data", "sqlite://", "sqlite:///", "sqlite://data", "postgres://u:secret@h"])
async def test_other_addresses_are_refused_without_repeating_them(address: str) -> None:
    with pytest.raises(ValueError, match="use sqlite:///folder, memory://") as refusal:
        await open_store(address)
    assert "secret" not in str(refusal.value)
