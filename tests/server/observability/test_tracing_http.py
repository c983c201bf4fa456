"""Traces of a running server, as a collector on a real socket receives them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from zlib import MAX_WBITS, decompress

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from testing.models import prose
from testing.replies import appended, asked, created, events
from testing.serving import ROOT, Server, client

CANARY = "zzCanaryzz"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes what is sent in OpenTelemetry's protocol over HTTP."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name is the library's
                body = self.rfile.read(int(self.headers["Content-Length"]))
                zipped = self.headers.get("Content-Encoding") == "gzip"
                collector.bodies.append(decompress(body, MAX_WBITS | 16) if zipped else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *values: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1/traces"

    @contextmanager
    def listening(self) -> Iterator[Collector]:
        thread = Thread(target=self._http.serve_forever)
        thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            thread.join()
            self._http.server_close()

    @property
    def spans(self) -> list[Span]:
        return [
            span
            for body in self.bodies
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def span(self, name: str, trace: str) -> Span:
        (found,) = [span for span in self.spans if (span.name, span.trace_id.hex()) == (name, trace)]
        return found


def counts(span: Span) -> dict[str, int]:
    """The attributes that are ours."""
    return {
        attribute.key.removeprefix("onceread."): attribute.value.int_value
        for attribute in span.attributes
        if attribute.key.startswith("onceread.")
    }


def traced(number: int) -> tuple[str, dict[str, str]]:
    """A trace's id, and the header with which a client says that it is in that trace."""
    trace = f"{number:032x}"
    return trace, {"traceparent": f"00-{trace}-{PARENT}-01"}


@pytest.fixture(scope="module")
def collector(tiny_weights: Path) -> Iterator[Collector]:
    """What it has once a server has done its work and ended; each request was of a trace of its own."""
    settings = {"idle_seconds": "0", "log_level": "debug"}
    with Collector().listening() as collector:
        with Server(tiny_weights, "memory://", traces_url=collector.url, **settings) as server:
            with client(server) as http:
                assert "traceparent" in http.get("/livez").headers
                created(http, id="book")
                text = f"{CANARY} lives here. {prose(81, 900)}".encode()
                url = "/v1/sessions/book"
                key = {"Authorization": f"Bearer {CANARY}"}
                reply = http.post(f"{url}/text?wait=read", content=text, headers=traced(1)[1] | key)
                assert reply.status_code == 200
                question = {"question": f"Who is {CANARY}?", "max_tokens": 5}
                reply = http.post(f"{url}/queries?{CANARY}", json=question, headers=traced(2)[1] | key)
                version, trace, span, flags = reply.headers["traceparent"].split("-")
                assert (version, trace, flags) == ("00", traced(2)[0], "01")
                assert span != PARENT
                with http.stream(
                    "POST", f"{url}/queries", json=question | {"stream": True}, headers=traced(3)[1]
                ) as stream:
                    *_, (last, _) = events(stream.iter_lines())
                    assert last == "done"
                assert http.get("/v1/sessions/never", headers=traced(4)[1]).status_code == 404
            assert server.terminate() == 0
            assert CANARY not in "".join(server.log)
        yield collector


def test_a_request_is_a_span_below_the_clients_span(collector: Collector) -> None:
    for number, name, status in (
        (1, "POST /v1/sessions/{id}/text", 200),
        (2, "POST /v1/sessions/{id}/queries", 200),
        (4, "GET /v1/sessions/{id}", 404),
    ):
        span = collector.span(name, traced(number)[0])
        assert span.parent_span_id.hex() == PARENT
        codes = {a.key: a.value.int_value for a in span.attributes if a.key == "http.response.status_code"}
        assert codes == {"http.response.status_code": status}


def test_store_operations_are_spans_below_the_request(collector: Collector) -> None:
    trace, _ = traced(1)
    request = collector.span("POST /v1/sessions/{id}/text", trace)
    end = counts(request)["accepted_bytes"]
    append = collector.span("store.append", trace)
    assert counts(append) == {"accepted_bytes": end}
    assert counts(collector.span("store.load", trace)).keys() == {"offset", "accepted_bytes"}
    checkpoint = counts(collector.span("store.checkpoint", trace))
    assert (checkpoint["offset"], checkpoint["version"]) == (end, 1)
    for name in ("store.append", "store.load", "store.checkpoint"):
        assert collector.span(name, trace).parent_span_id == request.span_id


@pytest.mark.parametrize("number", [2, 3])
def test_answers_are_spans_below_the_question_streamed_or_not(collector: Collector, number: int) -> None:
    trace, _ = traced(number)
    question = collector.span("POST /v1/sessions/{id}/queries", trace)
    answer = collector.span("answer", trace)
    assert answer.parent_span_id == question.span_id
    assert counts(answer).keys() == {"offset", "prompt_tokens", "completion_tokens"}
    assert counts(answer)["completion_tokens"] > 0
    assert counts(question)["offset"] == counts(answer)["offset"]
    assert question.start_time_unix_nano < answer.start_time_unix_nano < answer.end_time_unix_nano


def test_spans_carry_no_text_question_key_or_query(collector: Collector) -> None:
    assert collector.spans
    assert not any(CANARY.encode() in body for body in collector.bodies)


def test_without_a_traces_url_there_are_no_traces(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://") as server, client(server) as http:
        session = created(http)
        appended(http, session, b"text")
        asked(http, session)
        assert "traceparent" not in http.get("/livez", headers=traced(1)[1]).headers


def test_a_missing_tracing_extra_is_explained_at_start(tiny_weights: Path) -> None:
    without = "import sys; sys.modules['opentelemetry.sdk.trace'] = None; sys.argv = ['server']; import runpy; "
    ended = subprocess.run(
        [sys.executable, "-c", without + "runpy.run_module('server', run_name='__main__')"],
        cwd=ROOT,
        env={"ONCEREAD_TRACES_URL": "http://127.0.0.1:9", "ONCEREAD_STORE": "memory://"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "onceread: ONCEREAD_TRACES_URL is set and opentelemetry.sdk.trace is not installed" in ended.stderr
    assert "pip install '.[tracing]'" in ended.stderr
