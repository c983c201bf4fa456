"""Sends the arrivals of a schedule over HTTP: questions with streamed answers, and appends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

import httpx

from benchmarks.open_loop import Arrival, Failed, Refused, Reply

QUESTION = "Where is Mary?"
ANSWER_TOKENS = 8
REPLY_SECONDS_MAX = 60.0


class Sender:
    """Sends each arrival's request to its session; no request waits for another's connection."""

    def __init__(self, url: str, sessions: Sequence[str], piece: str) -> None:
        self._url, self._sessions, self._piece = url, sessions, piece.encode()
        self._idle: list[httpx.AsyncClient] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for http in self._idle:
            await http.aclose()

    async def __call__(self, arrival: Arrival) -> Reply:
        session = self._sessions[arrival.session]
        try:
            return await (self.append(session) if arrival.appends else self._ask(session))
        except httpx.HTTPError as error:
            raise Failed(f"{type(error).__name__}: {error}") from None

    async def append(self, session: str, wait: bool = False) -> Reply:
        """Appends one piece of text; with `wait`, returns when it has been read."""
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        query = {"wait": "read"} if wait else {}
        path = f"/v1/sessions/{session}/text"
        async with self._client() as http:
            check_reply(await http.post(path, params=query, content=self._piece, headers=headers))
        now = asyncio.get_running_loop().time()
        return Reply(now, now)

    async def _ask(self, session: str) -> Reply:
        """The first token is the first `delta`, or `done` if the answer has no text."""
        loop, body = asyncio.get_running_loop(), {"question": QUESTION, "max_tokens": ANSWER_TOKENS, "stream": True}
        first_at = whole_at = None
        path = f"/v1/sessions/{session}/queries"
        async with self._client() as http, http.stream("POST", path, json=body) as reply:
            check_reply(reply)
            async for line in reply.aiter_lines():
                if first_at is None and line in ("event: delta", "event: done"):
                    first_at = loop.time()
                if line == "event: done":
                    whole_at = loop.time()
        if first_at is None or whole_at is None:
            raise Failed("the stream of an answer ended before `done`")
        return Reply(first_at, whole_at)

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        """An idle client: one for all requests would scan its connections at each request."""
        if self._idle:
            http = self._idle.pop()
        else:
            http = httpx.AsyncClient(base_url=self._url, timeout=REPLY_SECONDS_MAX, verify=False, trust_env=False)
        try:
            yield http
        finally:
            self._idle.append(http)


def check_reply(reply: httpx.Response) -> None:
    if reply.status_code == httpx.codes.TOO_MANY_REQUESTS:
        raise Refused("429")
    if reply.is_error:
        raise Failed(f"{reply.request.url} answered {reply.status_code}")
