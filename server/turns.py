"""Text as the engine takes it, turn by turn: each turn's tokens are made while the engine reads the one before.

It knows the tokeniser and the chain, and nothing of sessions, stores or memories.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import NamedTuple

from model.tokenizer import TextTokenizer
from server.store.chain import extended

# Some 64 segments of English: long enough that the time between turns does not count, short enough that little is
# read again after a halt.
TURN_BYTES = 16 * 1024


class Turn(NamedTuple):
    """So many bytes of a text as tokens, the bytes behind them that are not final yet, and the chain up to there."""

    size_bytes: int
    ids: list[int]
    pending: bytes
    chain: str


async def turns(tokenizer: TextTokenizer, pending: bytes, chain: str, data: bytes) -> AsyncGenerator[Turn, None]:
    """The turns of `data`, which follows on what has left these bytes pending and come to this chain."""
    parts = [data[start : start + TURN_BYTES] for start in range(0, len(data), TURN_BYTES)]
    ahead = _begun(tokenizer, pending, chain, parts[0])
    try:
        for following in parts[1:]:
            turn = await ahead
            ahead = _begun(tokenizer, turn.pending, turn.chain, following)
            yield turn
        yield await ahead
    finally:
        ahead.cancel()


def _begun(tokenizer: TextTokenizer, pending: bytes, chain: str, data: bytes) -> asyncio.Task[Turn]:
    return asyncio.create_task(asyncio.to_thread(_turn, tokenizer, pending, chain, data), name="tokenise")


def _turn(tokenizer: TextTokenizer, pending: bytes, chain: str, data: bytes) -> Turn:
    return Turn(len(data), *tokenizer.advance(pending, data), extended(chain, data))
