"""Turns of a text are its tokens however it is cut, and the next one's are made before they are asked for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tokenizer import TextTokenizer
from server import turns as module
from server.store.chain import EMPTY_CHAIN, extended
from server.turns import Turn, turns
from tests.conftest import prose


async def all_turns(tokenizer: TextTokenizer, pending: bytes, data: bytes) -> list[Turn]:
    async with aclosing(turns(tokenizer, pending, EMPTY_CHAIN, data)) as made:
        return [turn async for turn in made]


@settings(max_examples=30)
@given(size=st.integers(1, 400), turn_bytes=st.integers(1, 90))
def test_turns_make_the_tokens_of_the_whole(tokenizer: TextTokenizer, size: int, turn_bytes: int) -> None:
    data = prose(5, 400).encode()[:size]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "TURN_BYTES", turn_bytes)
        made = asyncio.run(all_turns(tokenizer, b"", data))
    whole, pending = tokenizer.advance(b"", data)
    assert [token for turn in made for token in turn.ids] == whole
    assert sum(turn.size_bytes for turn in made) == size
    assert made[-1].pending == pending
    assert made[-1].chain == extended(EMPTY_CHAIN, data)


@pytest.mark.anyio
async def test_the_next_turn_is_made_while_one_is_worked_on(
    tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TURN_BYTES", 100)
    begun: list[int] = []
    second = asyncio.Event()
    loop = asyncio.get_running_loop()

    def turn(tokenizer: TextTokenizer, pending: bytes, chain: str, data: bytes) -> Turn:
        begun.append(len(data))
        if len(begun) == 2:
            loop.call_soon_threadsafe(second.set)
        return Turn(len(data), *tokenizer.advance(pending, data), chain)

    monkeypatch.setattr(module, "_turn", turn)
    async with aclosing(turns(tokenizer, b"", EMPTY_CHAIN, prose(5, 250).encode()[:250])) as made:
        await anext(made)
        await asyncio.wait_for(second.wait(), 10)
    assert begun == [100, 100], "and no more than one ahead"


@pytest.mark.anyio
async def test_who_leaves_has_nothing_made_any_more(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TURN_BYTES", 100)
    async with aclosing(turns(tokenizer, b"", EMPTY_CHAIN, prose(5, 900).encode())) as made:
        await anext(made)
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "tokenise" and not task.cancelling()]
