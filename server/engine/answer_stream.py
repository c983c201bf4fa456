"""The tokens of one answer, on their way from the engine to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

from model.sampling import Written

# A token, an error that ends the answer, or its end.
Event: TypeAlias = Written | Exception | None


class AnswerStream:
    """The tokens of one answer as they are decoded; it owns the answer's place in the engine until it is closed.

    It ends after the end mark, which is not given out, or after `tokens_max` tokens. Closing it early ends the
    answer within a step.
    """

    def __init__(self, events: asyncio.Queue[Event], release: Callable[[], None]) -> None:
        self._events, self._release = events, release
        self._ended = False

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> Written:
        if self._ended:
            raise StopAsyncIteration
        event = await self._events.get()
        if isinstance(event, Written):
            return event
        await self.aclose()
        raise StopAsyncIteration if event is None else event

    async def aclose(self) -> None:
        """Frees the answer's place; further calls do nothing."""
        if not self._ended:
            self._ended = True
            self._release()

    async def __aenter__(self) -> AnswerStream:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
