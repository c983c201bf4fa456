"""A minimal client of the HTTP interface, and a server to use it with."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families
from tqdm import tqdm

from benchmarks.plan import Plan
from testing.serving import Server

POLL_SECONDS = 0.1
REPLY_SECONDS_MAX = 3600.0


class Client:
    """Sessions by their ids, each call one request."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=REPLY_SECONDS_MAX)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def await_ready(self) -> None:
        """Returns when the server is ready."""
        while self._http.get("/readyz").is_error:
            time.sleep(POLL_SECONDS)

    def create(self, session: str) -> None:
        self._checked(self._http.post("/v1/sessions", json={"id": session}))

    def fork(self, session: str, id: str) -> None:
        self._checked(self._http.post("/v1/sessions", json={"id": id, "from": {"session": session}}))

    def delete(self, session: str) -> None:
        self._http.delete(f"/v1/sessions/{session}").raise_for_status()

    def metrics(self) -> str:
        return self._http.get("/metrics").text

    def view(self, session: str) -> dict[str, Any]:
        return self._checked(self._http.get(f"/v1/sessions/{session}"))

    def append(self, session: str, text: str, wait: bool = False) -> dict[str, Any]:
        """Appends at the end; with `wait`, returns when the text has been read."""
        query = {"wait": "read"} if wait else {}
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        path = f"/v1/sessions/{session}/text"
        return self._checked(self._http.post(path, params=query, content=text.encode(), headers=headers))

    def read_whole(self, session: str, text: str, description: str) -> None:
        """Creates a session and returns when it has read the text; shows progress."""
        self.create(session)
        self.append(session, text)
        total_bytes, read_bytes = len(text.encode()), 0
        with tqdm(total=total_bytes, desc=description, unit="B", unit_scale=True) as bar:
            while read_bytes < total_bytes:
                time.sleep(POLL_SECONDS)
                read_bytes = self.view(session)["text"]["read_bytes"]
                bar.update(read_bytes - bar.n)

    def settle(self, session: str, idle_seconds: float) -> None:
        """Returns when the session is read and its memory stored, so that its version no longer changes."""
        version, since = 0, time.monotonic()
        while not version or time.monotonic() - since < 2 * idle_seconds + 2 * POLL_SECONDS:
            time.sleep(POLL_SECONDS)
            view = self.view(session)
            if view["status"] != "idle" or view["memory"]["version"] != version:
                version, since = view["memory"]["version"], time.monotonic()

    def steps(self) -> tuple[float, float]:
        """The total time of the engine's steps since the start, in seconds, and their number."""
        families = {family.name: family for family in text_string_to_metric_families(self.metrics())}
        samples = {sample.name: sample.value for sample in families["onceread_step_seconds"].samples}
        return samples["onceread_step_seconds_sum"], samples["onceread_step_seconds_count"]

    def ask(self, session: str, question: str, tokens_max: int) -> dict[str, Any]:
        body = {"question": question, "max_tokens": tokens_max}
        return self._checked(self._http.post(f"/v1/sessions/{session}/queries", json=body))

    def first_token_seconds(self, session: str, question: str, tokens_max: int) -> float:
        """TTFT: from sending the question to the first `delta`, or to `done` if the answer has no text."""
        body = {"question": question, "max_tokens": tokens_max, "stream": True}
        first_seconds = None
        began = time.perf_counter()
        with self._http.stream("POST", f"/v1/sessions/{session}/queries", json=body) as reply:
            reply.raise_for_status()
            for line in reply.iter_lines():
                if first_seconds is None and line in ("event: delta", "event: done"):
                    first_seconds = time.perf_counter() - began
        if first_seconds is None:
            raise RuntimeError("the stream of an answer ended without a token and without `done`")
        return first_seconds

    def _checked(self, reply: httpx.Response) -> dict[str, Any]:
        if reply.is_error:
            raise RuntimeError(f"{reply.request.url} answered {reply.status_code}: {reply.text}")
        answer: dict[str, Any] = json.loads(reply.text)
        return answer


@contextmanager
def served(plan: Plan, store: str | None = None, **settings: str) -> Iterator[tuple[Server, Client]]:
    """A server in its own process, by default with a SQLite store in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="onceread-bench-") as folder:
        keys = {"seal_keys_file": f"{folder}/seal.keys"}
        # An empty setting is unset: the server takes its default number of threads.
        server = Server(plan.weights.resolve(), store or f"sqlite:///{folder}", threads="", **keys, **settings)
        with server, Client(server.url) as client:
            yield server, client
