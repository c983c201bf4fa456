"""What all routes that answer share: who may remember, and event streams with pings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT

from server.http.auth import Identity
from server.http.refusals import NotAllowed
from server.http.routes.shared import EVENT_STREAM
from server.settings import Settings


def may_remember(identity: Identity) -> None:
    """Raises `NotAllowed` for a key that may ask and may not append text."""
    if not identity.may("read"):
        raise NotAllowed("remember appends to the text, which needs the scope read; leave it out, or use a key with it")


def event_stream(events: AsyncGenerator[bytes, None], settings: Settings) -> StreamingResponse:
    """A response of server-sent events, with a comment whenever there was none for `ping_seconds`."""
    return StreamingResponse(
        _pinged(events, settings.ping_seconds), media_type=EVENT_STREAM, headers={"Cache-Control": "no-store"}
    )


async def _pinged(events: AsyncGenerator[bytes, None], ping_seconds: float) -> AsyncIterator[bytes]:
    async with aclosing(events):
        following = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                done, _ = await asyncio.wait({following}, timeout=ping_seconds)
                if not done:
                    yield KEEPALIVE_COMMENT
                    continue
                if (event := following.result()) is None:
                    return
                yield event
                following = asyncio.ensure_future(anext(events, None))
        finally:
            following.cancel()
            await asyncio.wait({following})
