"""An upload whose connections are cut a hundred times ends in the same memory as an undisturbed one."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest

from onceread import AsyncOnceread, Onceread
from testing.serving import ROOT, Server
from tests.clients import cuts
from tests.clients.conftest import served

TEXT = cuts.story(43, 2_000_000)


@pytest.fixture(scope="module", params=["sqlite", "valkey"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With the bAbI weights: they read what says nothing at a megabyte a second."""
    with served(ROOT / "model" / "babilong", request.param, tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed(server: Server) -> cuts.Memory:
    return cuts.undisturbed(server, TEXT)


def test_an_upload_that_is_cut_a_hundred_times_ends_in_the_same_memory(
    server: Server, undisturbed: cuts.Memory
) -> None:
    def read(url: str) -> str:
        with Onceread(url, retries=cuts.STUBBORN) as client:
            session = client.sessions.create()
            final = session.read(TEXT[start : start + 9000] for start in range(0, len(TEXT), 9000))
            assert final.read_bytes == len(TEXT)
            return session.id

    assert cuts.cut_a_hundred_times(server, len(TEXT), read) == undisturbed


def test_an_asynchronous_upload_that_is_cut_likewise_ends_in_the_same_memory(
    server: Server, undisturbed: cuts.Memory
) -> None:
    async def read(url: str) -> str:
        async with AsyncOnceread(url, retries=cuts.STUBBORN) as client:
            session = await client.sessions.create()
            await session.read(TEXT)
            return session.id

    assert cuts.cut_a_hundred_times(server, len(TEXT), lambda url: anyio.run(read, url)) == undisturbed
