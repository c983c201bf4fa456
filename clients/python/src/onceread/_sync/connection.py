# Generated from _async/connection.py by clients/python/tools/generate_sync.py: do not edit.
"""Carries out flows over httpx, step by step."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from typing import Any, Generic, TypeVar

import httpx
from httpx_sse import EventSource, SSEError

from onceread import errors
from onceread._sync.sources import Source
from onceread.concurrency import Callback, notify, sleep
from onceread.settings import HEADERS, Settings, arguments, connection_failed
from onceread.wire.requests import EVENTS
from onceread.wire.steps import Event, Flow, NextEvent, Open, Pause, Reply, Request, Send, Step, Take, Tell

T = TypeVar("T")


class Connection:
    def __init__(self, settings: Settings) -> None:
        self._settings, self.retries = settings, settings.retries
        self._http = httpx.Client(base_url=settings.url, headers={**HEADERS, **settings.authorization})

    def run(
        self,
        flow: Flow[T],
        source: Source | None = None,
        callback: Callback[Any] | None = None,
    ) -> T:
        """The flow's result; the values that it emits go to `callback`."""
        conversation = self.conversation(flow, source)
        try:
            for value in conversation:
                if callback is not None:
                    notify(callback, value)
        finally:
            conversation.close()
        return conversation.result

    def conversation(self, flow: Flow[T], source: Source | None = None) -> Conversation[T]:
        return Conversation(self._http, self._settings, flow, source)

    def close(self) -> None:
        self._http.close()


class Conversation(Generic[T]):
    """A flow on its way: iterate over what it tells; `result` is there at the end."""

    result: T

    def __init__(self, http: httpx.Client, settings: Settings, flow: Flow[T], source: Source | None) -> None:
        self._http, self._settings, self._flow, self._source = http, settings, flow, source
        self._open = ExitStack()
        self._events: Iterator[Event] | None = None
        self._telling = self._tell()

    def __iter__(self) -> Iterator[Any]:
        return self._telling

    def close(self) -> None:
        """Ends it where it stands."""
        self._telling.close()

    def _tell(self) -> Generator[Any, None]:
        flow = self._flow
        with self._open:
            try:
                step = next(flow)
                while True:
                    if isinstance(step, Tell):
                        yield step.value
                        step = flow.send(None)
                        continue
                    try:
                        came = self._perform(step)
                    except errors.OncereadError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(came)
            except StopIteration as end:
                self.result = end.value
            finally:
                flow.close()

    def _perform(self, step: Step) -> Any:
        try:
            match step:
                case Send(request):
                    response = self._http.request(**arguments(self._settings, request))
                    return Reply(response.status_code, response.headers, response.content)
                case Open(request):
                    return self._opened(request)
                case NextEvent():
                    return next(self._events, None) if self._events else None
                case Pause(seconds):
                    sleep(seconds)
                case Take(offset, limit):
                    assert self._source is not None
                    return self._source.take(offset, limit)
        except (httpx.RequestError, SSEError) as error:
            raise connection_failed(self._settings.url, error) from error
        return None

    def _opened(self, request: Request) -> Reply:
        self._open.close()
        response = self._open.enter_context(self._http.stream(**arguments(self._settings, request)))
        if not response.headers.get("Content-Type", "").startswith(EVENTS):
            return Reply(response.status_code, response.headers, response.read())
        self._events = (Event(event.event, event.data) for event in EventSource(response).iter_sse())
        return Reply(response.status_code, response.headers)
