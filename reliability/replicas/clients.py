"""Clients of one session: one appends, one asks questions, one polls; what they are answered goes into a history.

They use one address and HTTP, whatever happens to the servers behind it.
"""

from __future__ import annotations

import time
from http import HTTPStatus
from random import Random
from threading import Event
from typing import Any

import httpx

from reliability.replicas.history import History, Sent

PIECE_BYTES_MAX = 700
RECEIPT = "Onceread-Receipt"
ASK_SECONDS = 60
PAUSE_SECONDS = 0.02
LOOK_SECONDS = 0.05
WRITE_SECONDS_MAX = 0.1
# The server is away or busy: whether it did what was asked is unknown.
NOT_NOW = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


class Refused(Exception):
    """An unexpected error for the session; it is in the history."""


class Customer:
    """One session, its document, and how much of it was acknowledged; each method but `finish` is a thread's work."""

    def __init__(self, url: str, session: str, document: bytes, history: History, dice: Random) -> None:
        self._url, self.session, self.document = url, session, document
        self._history, self._dice = history, dice
        self.over = Event()
        self.acknowledged_bytes = self.resends = 0
        self._receipt: str | None = None

    def create(self) -> None:
        with self._http() as http:
            while (reply := self._try(http, "POST", "/v1/sessions", json={"id": self.session})) is None:
                continue
            # Where the proxy sent it twice, the second is a conflict.
            if reply.status_code not in (HTTPStatus.CREATED, HTTPStatus.CONFLICT):
                raise self._refusal(reply)

    def write(self) -> None:
        with self._http() as http:
            while not self.over.wait(self._dice.uniform(0, WRITE_SECONDS_MAX)):
                self._send(http, self._further())

    def ask(self) -> None:
        with self._http() as http:
            while not self.over.is_set():
                began = time.monotonic()
                body = {"question": "Who came?", "max_tokens": 2}
                reply = self._sound(self._try(http, "POST", self._path("/queries"), json=body))
                if reply is not None:
                    memory = reply.json()["memory"]
                    self._record("an answer", began, covered=memory["offset"], version=memory["version"])

    def look(self) -> None:
        with self._http() as http:
            while not self.over.wait(LOOK_SECONDS):
                self._look_at_text(http)
                began = time.monotonic()
                if (reply := self._sound(self._try(http, "GET", self._path()))) is not None:
                    body = reply.json()
                    if body["status"] == "quarantined":
                        raise self._refusal(reply)
                    # `read_bytes` differs between replicas: each adds its own unstored reading.
                    accepted, version = body["text"]["accepted_bytes"], body["memory"]["version"]
                    self._record("GET", began, accepted=accepted, version=version)

    def finish(self) -> None:
        """Ends every thread's work; text without an answer by then does not count as acknowledged."""
        self.over.set()

    def delete(self) -> None:
        """Deletes the session; every server must answer 404 from then on."""
        with self._http() as http:
            while (reply := self._try(http, "DELETE", self._path())) is None:
                continue
            # A try whose answer was lost deleted it.
            if reply.status_code not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
                self._refusal(reply)
            while (reply := self._try(http, "GET", self._path())) is None:
                continue
            if reply.status_code != HTTPStatus.NOT_FOUND:
                self._refusal(reply)

    def _further(self) -> int:
        return min(self.acknowledged_bytes + self._dice.randint(1, PIECE_BYTES_MAX), len(self.document))

    def _send(self, http: httpx.Client, end: int) -> None:
        while self.acknowledged_bytes < end and not self.over.is_set():
            began, offset = time.monotonic(), self.acknowledged_bytes
            self._history.sent.append(Sent(self.session, end, began))
            headers = {"Upload-Offset": str(offset), "Content-Type": "text/plain"}
            reply = self._try(http, "POST", self._path("/text"), headers, content=self.document[offset:end])
            if reply is None:
                self.resends += 1
                if self._dice.random() < 0.5 and (found := self._look_at_text(http)) is not None:
                    self.acknowledged_bytes, end = max(offset, found), self._further()
                continue
            # Text of an earlier try, trimmed since: continue where the response says that the text ends.
            beyond = reply.status_code == HTTPStatus.CONFLICT and reply.json()["error"]["code"] == "offset_mismatch"
            accepted = reply.json()["expected_offset"] if beyond else self._must(reply).json()["accepted_bytes"]
            self._record("a refused append" if beyond else "an append", began, accepted=accepted)
            if accepted < offset:
                raise Refused
            self.acknowledged_bytes = accepted
            self._receipt = reply.headers.get(RECEIPT, self._receipt)

    def _look_at_text(self, http: httpx.Client) -> int | None:
        began = time.monotonic()
        reply = self._sound(self._try(http, "HEAD", self._path("/text")))
        if reply is None:
            return None
        accepted = int(reply.headers["Upload-Offset"])
        self._record("HEAD", began, accepted=accepted)
        return accepted

    def _record(self, how: str, began: float, **values: int) -> None:
        self._history.add(self.session, how, began, time.monotonic(), **values)

    def _try(
        self, http: httpx.Client, method: str, path: str, headers: dict[str, str] | None = None, **body: Any
    ) -> httpx.Response | None:
        """The reply, errors included; None where no server answered."""
        shown = {RECEIPT: self._receipt} if self._receipt else {}
        try:
            reply = http.request(method, path, headers={**shown, **(headers or {})}, **body)
        except httpx.TransportError:
            reply = None
        if reply is None or (reply.status_code in NOT_NOW and b"session_quarantined" not in reply.content):
            self.over.wait(PAUSE_SECONDS)
            return None
        return reply

    def _sound(self, reply: httpx.Response | None) -> httpx.Response | None:
        return None if reply is None else self._must(reply)

    def _must(self, reply: httpx.Response) -> httpx.Response:
        if reply.is_error:
            raise self._refusal(reply)
        return reply

    def _refusal(self, reply: httpx.Response) -> Refused:
        request = reply.request
        asked = f"{request.method} {request.url.path} from {request.headers.get('Upload-Offset', 'nowhere')}"
        self._history.refused.append(f"{self.session}: {asked}: {reply.status_code} {reply.text[:300]}")
        return Refused()

    def _path(self, rest: str = "") -> str:
        return f"/v1/sessions/{self.session}{rest}"

    def _http(self) -> httpx.Client:
        return httpx.Client(base_url=self._url, timeout=ASK_SECONDS)
