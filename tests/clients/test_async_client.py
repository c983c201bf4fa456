"""The asynchronous client has the same methods as the synchronous one, with the same results."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import onceread
from onceread import AsyncOnceread, Progress, errors
from onceread._async.client import AsyncSessions
from onceread._sync.client import Sessions
from testing.models import prose

TEXT = prose(41, 6000)
SIZE = len(TEXT.encode())

pytestmark = pytest.mark.anyio

PAIRS = [
    (onceread.Onceread, onceread.AsyncOnceread),
    (Sessions, AsyncSessions),
    (onceread.Session, onceread.AsyncSession),
    (onceread.AnswerStream, onceread.AsyncAnswerStream),
]


def methods(kind: type) -> dict[str, Any]:
    """The public methods and properties of a class, and those of its base that tells what is known of a session."""
    return {name: member for name, member in inspect.getmembers(kind) if not name.startswith("_")}


@pytest.mark.parametrize(("blocking", "awaited"), PAIRS)
def test_both_clients_have_the_same_methods_with_the_same_arguments(blocking: type, awaited: type) -> None:
    assert methods(blocking).keys() == methods(awaited).keys()
    for name, method in methods(blocking).items():
        if callable(method):
            other = inspect.signature(getattr(awaited, name))
            one = inspect.signature(method)
            assert list(one.parameters) == list(other.parameters), name
            for parameter in one.parameters.values():
                assert parameter.default == other.parameters[parameter.name].default, name
                assert parameter.kind == other.parameters[parameter.name].kind, name
            assert inspect.getdoc(method), f"{name} says what it does"


async def test_all_calls_work_asynchronously(async_client: AsyncOnceread, tmp_path: Path) -> None:
    client = async_client
    await client.ready()
    assert (await client.server()).fingerprint
    session = await client.sessions.create(metadata={"title": "Middlemarch"})
    (tmp_path / "text.txt").write_text(TEXT, "utf-8")
    seen: list[Progress] = []
    final = await session.read(tmp_path / "text.txt", progress=seen.append)
    assert seen[-1] == final
    assert final.read_bytes == SIZE
    assert session.receipt
    assert session.durability == "fsync"
    whole = await session.ask("Who came?", max_tokens=8)
    stream = session.ask("Who came?", stream=True, max_tokens=8)
    assert "".join([piece async for piece in stream]) == whole.text
    assert stream.answer is not None
    first, _ = await session.ask_all(["Who came?", "When?"], max_tokens=8)
    assert first.text == whole.text
    await session.snapshot("now")
    assert [kept.name for kept in await session.snapshots()] == ["now"]
    copy = await session.fork(snapshot="now")
    assert (await copy.ask("Who came?", max_tokens=8)).text == whole.text
    await session.read(" More.")
    await session.restore("now")
    assert (await session.refresh()).text.accepted_bytes == SIZE
    await session.delete_snapshot("now")
    await session.save(tmp_path / "memory.safetensors")
    loaded = await client.sessions.load(tmp_path / "memory.safetensors")
    assert (await loaded.ask("Who came?", max_tokens=8)).text == whole.text
    assert (await session.update(metadata={})).metadata == {}
    listed = [found.id async for found in client.sessions.list()]
    assert {session.id, copy.id, loaded.id} <= set(listed)
    for made in (session, copy, loaded):
        await made.delete()
    with pytest.raises(errors.SessionNotFound):
        await client.sessions.get(session.id)
    assert "onceread_" in await client.metrics()


async def test_an_answer_is_streamed_asynchronously(async_client: AsyncOnceread) -> None:
    async def pieces() -> AsyncIterator[str]:
        for start in range(0, len(TEXT), 700):
            yield TEXT[start : start + 700]

    heard: list[int] = []

    async def listen(progress: Progress) -> None:
        heard.append(progress.read_bytes)

    session = await async_client.sessions.create()
    assert (await session.read(pieces(), progress=listen)).read_bytes == SIZE
    assert heard[-1] == SIZE


async def test_a_stream_that_is_left_early_leaves_the_client_usable(async_client: AsyncOnceread) -> None:
    session = await async_client.sessions.create()
    await session.read(TEXT)
    async with session.ask("Who?", stream=True, max_tokens=60) as stream:
        await anext(stream)
    assert (await session.ask("Who?", max_tokens=2)).usage.completion_tokens <= 2


async def test_rebuild_reads_the_kept_text_again(async_client: AsyncOnceread) -> None:
    session = await async_client.sessions.create(keep_text=True)
    await session.read(TEXT)
    before = await session.ask("Who came?", max_tokens=8)
    await session.rebuild()
    assert (await session.ask("Who came?", max_tokens=8)).text == before.text
