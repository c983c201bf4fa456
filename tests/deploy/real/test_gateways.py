"""HAProxy, nginx and Envoy with the shipped settings, before three real replicas on a real Valkey."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import httpx
import pytest
import yaml

from testing.models import prose
from testing.redis_servers import HOST, until
from testing.replies import appended, asked, created, events, offsets
from tests.deploy.charts import CHART
from tests.deploy.gateways import FILES, Gateway
from tests.deploy.real.replicas import Replicas

pytestmark = pytest.mark.deploy

LONG = {"question": "Who came?", "max_tokens": 4096, "stream": True}
SESSIONS = 12
TEXT = prose(61, 40_000).encode()
CUT_SECONDS = 120


@pytest.fixture(scope="module")
def replicas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Replicas]:
    with Replicas(tmp_path_factory.mktemp("replicas")) as replicas:
        yield replicas


@pytest.fixture(scope="module", params=[*sorted(FILES), "script"])
def gateway(
    request: pytest.FixtureRequest, replicas: Replicas, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """Each gateway with its file, and Envoy as Envoy Gateway configures it, with the chart's script."""
    change: Callable[[str], str] = as_the_chart_has_it if request.param == "script" else str
    name = "envoy" if request.param == "script" else request.param
    with Gateway(name, tmp_path_factory.mktemp("gateway"), replicas.ports, change) as gateway:
        yield gateway


@pytest.fixture
def http(gateway: Gateway) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=gateway.url, timeout=120) as http:
        until(lambda: http.get("/readyz").status_code == 200, "the gateway finds its replicas")
        yield http


def as_the_chart_has_it(text: str) -> str:
    """Envoy's file with the routes' rules replaced by the chart's script and its hashed header."""
    settings = yaml.safe_load(text)
    [chain] = settings["static_resources"]["listeners"][0]["filter_chains"]
    manager = chain["filters"][0]["typed_config"]
    lua = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
    source = (CHART / "files" / "session.lua").read_text()
    manager["http_filters"].insert(
        0,
        {
            "name": "envoy.filters.http.lua",
            "typed_config": {"@type": lua, "default_source_code": {"inline_string": source}},
        },
    )
    for route in manager["route_config"]["virtual_hosts"][0]["routes"]:
        if "route" in route:
            route["route"]["hash_policy"] = [{"header": {"header_name": "x-onceread-session"}}]
    return yaml.safe_dump(settings)


def owner(replicas: Replicas, ask: Callable[[], Any]) -> int:
    """The replica that answers the call."""
    before = replicas.written()
    ask()
    wrote = [after > first for first, after in zip(before, replicas.written(), strict=True)]
    assert sum(wrote) == 1, "one replica answers"
    return wrote.index(True)


def sent(http: httpx.Client, session: str, offset: int) -> bool:
    headers = {"Upload-Offset": str(offset)}
    return http.post(f"/v1/sessions/{session}/text", content=TEXT[offset:], headers=headers).is_success


def chat(http: httpx.Client, session: str) -> httpx.Response:
    [model] = http.get("/v1/models").json()["data"]
    body = {"model": model["id"], "messages": [{"role": "user", "content": "Who came?"}], "max_tokens": 4}
    return http.post("/v1/chat/completions", json=body, headers={"X-Session-ID": session}).raise_for_status()


def asks_another(http: httpx.Client, replicas: Replicas, before: list[float]) -> bool:
    """Asks a question to a new session; whether every replica has generated tokens since `before`."""
    asked(http, created(http))
    return all(after > first for first, after in zip(before, replicas.written(), strict=True))


def test_a_session_stays_with_one_replica_and_sessions_are_spread(http: httpx.Client, replicas: Replicas) -> None:
    before = replicas.written()
    until(lambda: asks_another(http, replicas, before), "the gateway has found all replicas")
    owners: list[int] = []
    # Ids are random: with a dozen sessions a replica may get none, with a hundred each gets some.
    while len(owners) < SESSIONS or (len(set(owners)) < 3 and len(owners) < 100):
        session = created(http)
        appended(http, session, TEXT[:1000])
        mine = {owner(replicas, partial(asked, http, session)) for _ in range(2)}
        mine.add(owner(replicas, partial(chat, http, session)))
        assert len(mine) == 1, "the path and the header must lead to the same replica"
        owners += mine
    assert set(owners) == {0, 1, 2}


def test_the_sessions_of_a_killed_replica_move_to_others_without_loss(http: httpx.Client, replicas: Replicas) -> None:
    session = created(http)
    appended(http, session, TEXT[:20_000])
    first = owner(replicas, lambda: asked(http, session))
    before = asked(http, session)
    replicas.all[first].kill()
    try:
        # A request in flight may be lost; an append with an offset may be sent again.
        until(lambda: sent(http, session, 20_000), "another replica takes the text")
        after = asked(http, session)
        assert after["memory"]["offset"] == len(TEXT)
        assert before["memory"]["offset"] == 20_000
    finally:
        replicas.all[first].start_again()
    assert offsets(http, session)[0] == len(TEXT)
    until(lambda: http.get("/readyz").status_code == 200, "it is there again")


def test_a_draining_replica_completes_its_answers_through_the_gateway(http: httpx.Client, replicas: Replicas) -> None:
    session = created(http)
    appended(http, session, TEXT[:5000])
    with http.stream("POST", f"/v1/sessions/{session}/queries", json=LONG) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "delta"
        mine = replicas.answering().index(1.0)
        replicas.all[mine].send(signal.SIGTERM)
        name, done = list(stream)[-1]
    assert replicas.all[mine].wait() == 0
    replicas.all[mine].start_again()
    assert name == "done"
    assert done["usage"]["completion_tokens"] > 1000


def test_the_gateway_does_not_buffer_streamed_answers(http: httpx.Client, replicas: Replicas) -> None:
    session = created(http)
    appended(http, session, TEXT[:5000])
    with http.stream("POST", f"/v1/sessions/{session}/queries", json=LONG) as reply:
        stream = events(reply.iter_lines())
        assert next(stream)[0] == "delta"
        # The beginning has arrived while the end is still being decoded.
        assert sum(replicas.answering()) == 1
    until(lambda: sum(replicas.answering()) == 0, "the answer that nobody waits for ends")


def test_the_gateway_does_not_buffer_uploads(http: httpx.Client) -> None:
    session = created(http)
    half = prose(62, 600_000).encode()

    def body() -> Iterator[bytes]:
        yield half
        # The first half is durable while the second is not yet sent.
        until(lambda: offsets(http, session)[0] >= len(half) // 2, "the beginning arrives")
        yield half

    # A connection of its own: the other one polls the offset.
    with httpx.Client(base_url=http.base_url, timeout=120) as other:
        reply = other.post(f"/v1/sessions/{session}/text", content=body())
    assert reply.json()["accepted_bytes"] == 2 * len(half)


def test_slow_clients_are_cut_off(http: httpx.Client, gateway: Gateway) -> None:
    session = created(http)
    head = f"POST /v1/sessions/{session}/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
    with ThreadPoolExecutor(2) as threads:
        headers = threads.submit(last_words, gateway.port, head)
        body = threads.submit(last_words, gateway.port, head + "Content-Length: 1000\r\n\r\nThe beginning")
        assert headers.result() in ("", "408")
        assert body.result() in ("", "400", "408", "504")
    assert http.get("/version").status_code == 200


def last_words(port: int, sent: str) -> str:
    """The status line with which a client is cut off that sends this and then stalls; empty if there is none."""
    with socket.create_connection((HOST, port), timeout=CUT_SECONDS) as way:
        way.sendall(sent.encode())
        received = b""
        try:
            while part := way.recv(4096):
                received += part
        except ConnectionResetError:
            pass
    words = received.split()
    return words[1].decode() if words else ""


def test_the_gateway_does_not_serve_metrics(http: httpx.Client) -> None:
    assert http.get("/metrics").status_code == 404
    assert "onceread_" not in http.get("/metrics").text
