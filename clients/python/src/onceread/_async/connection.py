"""Carries out flows over httpx, step by step."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

import httpx
from httpx_sse import EventSource, SSEError

from onceread import errors
from onceread._async.sources import AsyncSource
from onceread.concurrency import AsyncCallback, async_notify, async_sleep
from onceread.settings import HEADERS, Settings, arguments, connection_failed
from onceread.wire.requests import EVENTS
from onceread.wire.steps import Event, Flow, NextEvent, Open, Pause, Reply, Request, Send, Step, Take, Tell

T = TypeVar("T")


class AsyncConnection:
    def __init__(self, settings: Settings) -> None:
        self._settings, self.retries = settings, settings.retries
        self._http = httpx.AsyncClient(base_url=settings.url, headers={**HEADERS, **settings.authorization})

    async def run(
        self,
        flow: Flow[T],
        source: AsyncSource | None = None,
        callback: AsyncCallback[Any] | None = None,
    ) -> T:
        """The flow's result; the values that it emits go to `callback`."""
        conversation = self.conversation(flow, source)
        try:
            async for value in conversation:
                if callback is not None:
                    await async_notify(callback, value)
        finally:
            await conversation.close()
        return conversation.result

    def conversation(self, flow: Flow[T], source: AsyncSource | None = None) -> AsyncConversation[T]:
        return AsyncConversation(self._http, self._settings, flow, source)

    async def close(self) -> None:
        await self._http.aclose()


class AsyncConversation(Generic[T]):
    """A flow on its way: iterate over what it tells; `result` is there at the end."""

    result: T

    def __init__(self, http: httpx.AsyncClient, settings: Settings, flow: Flow[T], source: AsyncSource | None) -> None:
        self._http, self._settings, self._flow, self._source = http, settings, flow, source
        self._open = AsyncExitStack()
        self._events: AsyncIterator[Event] | None = None
        self._telling = self._tell()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._telling

    async def close(self) -> None:
        """Ends it where it stands."""
        await self._telling.aclose()

    async def _tell(self) -> AsyncGenerator[Any, None]:
        flow = self._flow
        async with self._open:
            try:
                step = next(flow)
                while True:
                    if isinstance(step, Tell):
                        yield step.value
                        step = flow.send(None)
                        continue
                    try:
                        came = await self._perform(step)
                    except errors.OncereadError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(came)
            except StopIteration as end:
                self.result = end.value
            finally:
                flow.close()

    async def _perform(self, step: Step) -> Any:
        try:
            match step:
                case Send(request):
                    response = await self._http.request(**arguments(self._settings, request))
                    return Reply(response.status_code, response.headers, response.content)
                case Open(request):
                    return await self._opened(request)
                case NextEvent():
                    return await anext(self._events, None) if self._events else None
                case Pause(seconds):
                    await async_sleep(seconds)
                case Take(offset, limit):
                    assert self._source is not None
                    return await self._source.take(offset, limit)
        except (httpx.RequestError, SSEError) as error:
            raise connection_failed(self._settings.url, error) from error
        return None

    async def _opened(self, request: Request) -> Reply:
        await self._open.aclose()
        response = await self._open.enter_async_context(self._http.stream(**arguments(self._settings, request)))
        if not response.headers.get("Content-Type", "").startswith(EVENTS):
            return Reply(response.status_code, response.headers, await response.aread())
        self._events = (Event(event.event, event.data) async for event in EventSource(response).aiter_sse())
        return Reply(response.status_code, response.headers)
