"""What all routes that answer share: several answers waited for together, and a stream that never falls silent.

It knows answers as they are written, and none of the shapes that they are sent in.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import TypeAlias

from server.http import sse
from server.http.auth import Identity
from server.http.errors import NotAllowed
from server.sessions.answers import Answer, Piece

Answering: TypeAlias = AsyncGenerator[Piece | Answer, None]


def may_remember(identity: Identity) -> None:
    """Refuses to remember for a key that may ask, and may not put text into a session."""
    if not identity.may("read"):
        raise NotAllowed("remember appends to the text, which needs the scope read; leave it out, or use a key with it")


async def together(streams: list[Answering]) -> list[Answer]:
    """All answers, written side by side; when one fails, the others end."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_finished(stream)) for stream in streams]
    return [task.result() for task in tasks]


async def _finished(parts: Answering) -> Answer:
    async with aclosing(parts) as stream:
        async for part in stream:
            if isinstance(part, Answer):
                return part
    raise RuntimeError("an answer ended without its last part")


async def pinged(events: AsyncGenerator[bytes, None], ping_seconds: float) -> AsyncIterator[bytes]:
    """The events, and a comment whenever there was none for so long."""
    async with aclosing(events):
        following = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=ping_seconds)
                if not done:
                    yield sse.PING
                    continue
                if (event := following.result()) is None:
                    return
                yield event
                following = asyncio.ensure_future(anext(events, None))
        finally:
            following.cancel()
            await asyncio.wait({following})
