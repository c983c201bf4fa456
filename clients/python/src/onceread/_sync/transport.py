# Generated from _async/transport.py by clients/python/tools/generate_sync.py: do not edit.
"""Carries out flows over httpx, step by step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

import httpx
from httpx_sse import EventSource, SSEError

from onceread import errors
from onceread._sync.sources import TextSource
from onceread.concurrency import Callback, notify, sleep
from onceread.connection_config import HEADERS, ConnectionConfig, arguments, connection_failed
from onceread.wire.requests import EVENTS
from onceread.wire.steps import Emit, Event, Flow, NextEvent, OpenStream, Pause, Reply, Request, Send, Step, Take

T = TypeVar("T")


class Transport:
    def __init__(self, config: ConnectionConfig) -> None:
        self._config, self.retries = config, config.retries
        self._http = httpx.Client(base_url=config.url, headers={**HEADERS, **config.authorization})

    def run(
        self,
        flow: Flow[T],
        source: TextSource | None = None,
        callback: Callback[Any] | None = None,
    ) -> T:
        """The flow's result; the values that it emits go to `callback`."""
        runner = self.start(flow, source)
        try:
            for value in runner:
                if callback is not None:
                    notify(callback, value)
        finally:
            runner.close()
        return runner.result

    def start(self, flow: Flow[T], source: TextSource | None = None) -> FlowRunner[T]:
        return FlowRunner(self._http, self._config, flow, source)

    def close(self) -> None:
        self._http.close()


class FlowRunner(Generic[T]):
    """Carries out one flow: iterate over the values that it emits; `result` is set at the end."""

    result: T

    def __init__(self, http: httpx.Client, config: ConnectionConfig, flow: Flow[T], source: TextSource | None) -> None:
        self._http = http
        self._config = config
        self._flow = flow
        self._source = source
        self._stack = ExitStack()
        self._events: Iterator[Event] | None = None
        self._values = self._run()

    def __iter__(self) -> Iterator[Any]:
        return self._values

    def close(self) -> None:
        """Ends the flow, and closes its connection."""
        self._values.close()

    def _run(self) -> Generator[Any, None]:
        flow = self._flow
        with self._stack:
            try:
                step = next(flow)
                while True:
                    if isinstance(step, Emit):
                        yield step.value
                        step = flow.send(None)
                        continue
                    try:
                        result = self._perform(step)
                    except errors.OncereadError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(result)
            except StopIteration as end:
                self.result = end.value
            finally:
                flow.close()

    def _perform(self, step: Step) -> Any:
        try:
            match step:
                case Send(request):
                    response = self._http.request(**arguments(self._config, request))
                    return Reply(response.status_code, response.headers, response.content)
                case OpenStream(request):
                    return self._open_stream(request)
                case NextEvent():
                    return next(self._events, None) if self._events else None
                case Pause(seconds):
                    sleep(seconds)
                case Take(offset, limit):
                    assert self._source is not None
                    return self._source.take(offset, limit)
        except (httpx.RequestError, SSEError) as error:
            raise connection_failed(self._config.url, error) from error
        return None

    def _open_stream(self, request: Request) -> Reply:
        self._stack.close()
        response = self._stack.enter_context(self._http.stream(**arguments(self._config, request)))
        if not response.headers.get("Content-Type", "").startswith(EVENTS):
            return Reply(response.status_code, response.headers, response.read())
        self._events = (Event(event.event, event.data) for event in EventSource(response).iter_sse())
        return Reply(response.status_code, response.headers)
