"""Carries out flows over httpx, step by step."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Generic, TypeVar

import httpx
from httpx_sse import EventSource, SSEError

from onceread import errors
from onceread._async.sources import AsyncTextSource
from onceread.concurrency import AsyncCallback, async_notify, async_sleep
from onceread.connection_config import HEADERS, ConnectionConfig, arguments, connection_failed
from onceread.wire.requests import EVENTS
from onceread.wire.steps import Emit, Event, Flow, NextEvent, OpenStream, Pause, Reply, Request, Send, Step, Take

T = TypeVar("T")


class AsyncTransport:
    def __init__(self, config: ConnectionConfig) -> None:
        self._config, self.retries = config, config.retries
        self._http = httpx.AsyncClient(base_url=config.url, headers={**HEADERS, **config.authorization})

    async def run(
        self,
        flow: Flow[T],
        source: AsyncTextSource | None = None,
        callback: AsyncCallback[Any] | None = None,
    ) -> T:
        """The flow's result; the values that it emits go to `callback`."""
        runner = self.start(flow, source)
        try:
            async for value in runner:
                if callback is not None:
                    await async_notify(callback, value)
        finally:
            await runner.close()
        return runner.result

    def start(self, flow: Flow[T], source: AsyncTextSource | None = None) -> AsyncFlowRunner[T]:
        return AsyncFlowRunner(self._http, self._config, flow, source)

    async def close(self) -> None:
        await self._http.aclose()


class AsyncFlowRunner(Generic[T]):
    """Carries out one flow: iterate over the values that it emits; `result` is set at the end."""

    result: T

    def __init__(
        self, http: httpx.AsyncClient, config: ConnectionConfig, flow: Flow[T], source: AsyncTextSource | None
    ) -> None:
        self._http = http
        self._config = config
        self._flow = flow
        self._source = source
        self._stack = AsyncExitStack()
        self._events: AsyncIterator[Event] | None = None
        self._values = self._run()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._values

    async def close(self) -> None:
        """Ends the flow, and closes its connection."""
        await self._values.aclose()

    async def _run(self) -> AsyncGenerator[Any, None]:
        flow = self._flow
        async with self._stack:
            try:
                step = next(flow)
                while True:
                    if isinstance(step, Emit):
                        yield step.value
                        step = flow.send(None)
                        continue
                    try:
                        result = await self._perform(step)
                    except errors.OncereadError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(result)
            except StopIteration as end:
                self.result = end.value
            finally:
                flow.close()

    async def _perform(self, step: Step) -> Any:
        try:
            match step:
                case Send(request):
                    response = await self._http.request(**arguments(self._config, request))
                    return Reply(response.status_code, response.headers, response.content)
                case OpenStream(request):
                    return await self._open_stream(request)
                case NextEvent():
                    return await anext(self._events, None) if self._events else None
                case Pause(seconds):
                    await async_sleep(seconds)
                case Take(offset, limit):
                    assert self._source is not None
                    return await self._source.take(offset, limit)
        except (httpx.RequestError, SSEError) as error:
            raise connection_failed(self._config.url, error) from error
        return None

    async def _open_stream(self, request: Request) -> Reply:
        await self._stack.aclose()
        response = await self._stack.enter_async_context(self._http.stream(**arguments(self._config, request)))
        if not response.headers.get("Content-Type", "").startswith(EVENTS):
            return Reply(response.status_code, response.headers, await response.aread())
        self._events = (Event(event.event, event.data) async for event in EventSource(response).aiter_sse())
        return Reply(response.status_code, response.headers)
