"""Two servers on one Valkey: either takes text and answers, and one continues from what the other accepted."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from testing.models import prose
from testing.redis_servers import RedisServer
from testing.replies import appended, asked, created, eventually, offsets, problem, shown
from testing.serving import Server, client

TEXT = prose(31, 40_000).encode()
QUARTER = len(TEXT) // 4


@pytest.fixture(scope="module")
def replicas(
    redis_server: RedisServer, tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Server]]:
    keys = str(tmp_path_factory.mktemp("keys") / "seal.keys")
    settings = {"lease_seconds": "1", "sweep_seconds": "0.2", "idle_seconds": "0.5", "seal_keys_file": keys}
    servers = [Server(tiny_weights, redis_server.url, step_tokens="8", **settings) for _ in range(2)]
    with servers[0], servers[1]:
        yield servers


@pytest.fixture
def clients(replicas: list[Server]) -> Iterator[list[httpx.Client]]:
    with client(replicas[0]) as first, client(replicas[1]) as second:
        yield [first, second]


@pytest.fixture(scope="module")
def undisturbed(tiny_weights: Path) -> Iterator[httpx.Client]:
    """A single server that has read the whole text."""
    with Server(tiny_weights, "memory://", step_tokens="8") as server, client(server) as http:
        created(http, id="book")
        appended(http, "book", TEXT)
        yield http


def answered(http: httpx.Client, session: str) -> tuple[str, dict[str, int]]:
    answer = asked(http, session)
    return answer["answer"], answer["usage"]


def test_text_may_be_sent_to_either_replica_and_queried_at_both(
    clients: list[httpx.Client], undisturbed: httpx.Client
) -> None:
    session = created(clients[0])
    for number in range(4):
        part = TEXT[number * QUARTER : (number + 1) * QUARTER] if number < 3 else TEXT[3 * QUARTER :]
        reply = clients[number % 2].post(f"/v1/sessions/{session}/text", content=part)
        assert reply.status_code == 200
        assert reply.headers["Onceread-Durability"] == "fsync"
        assert asked(clients[(number + 1) % 2], session)["memory"]["offset"] == reply.json()["accepted_bytes"]
    for http in clients:
        assert answered(http, session) == answered(undisturbed, "book")
        assert offsets(http, session) == (len(TEXT), len(TEXT))


def test_concurrent_appends_at_two_replicas_are_neither_lost_nor_mixed(clients: list[httpx.Client]) -> None:
    session = created(clients[0])
    lines = [f"{number:06}\n".encode() * 40 for number in range(60)]

    def send(number: int) -> int:
        reply = clients[number % 2].post(f"/v1/sessions/{session}/text", content=lines[number])
        return int(reply.raise_for_status().json()["accepted_bytes"])

    with ThreadPoolExecutor(8) as threads:
        ends = list(threads.map(send, range(len(lines))))
    assert sorted(ends) == [(number + 1) * 280 for number in range(60)]
    assert asked(clients[0], session)["usage"] == asked(clients[1], session)["usage"]


def test_text_that_a_killed_replica_left_unread_is_read_by_the_other(
    replicas: list[Server], clients: list[httpx.Client], undisturbed: httpx.Client
) -> None:
    session = created(clients[0])
    reply = clients[0].post(f"/v1/sessions/{session}/text", content=TEXT)
    replicas[0].kill()
    try:
        assert reply.status_code == 200
        # No request asks for it: the sweep finds it.
        eventually(lambda: offsets(clients[1], session)[1] == len(TEXT))
        assert answered(clients[1], session) == answered(undisturbed, "book")
    finally:
        replicas[0].start()


def test_a_replica_that_was_stopped_beyond_its_lease_overwrites_nothing(
    replicas: list[Server], clients: list[httpx.Client], undisturbed: httpx.Client
) -> None:
    session = created(clients[0])
    clients[0].post(f"/v1/sessions/{session}/text", content=TEXT[:QUARTER]).raise_for_status()
    replicas[0].send(signal.SIGSTOP)
    try:
        appended(clients[1], session, TEXT[QUARTER:])
    finally:
        replicas[0].send(signal.SIGCONT)
    for http in clients:
        assert answered(http, session) == answered(undisturbed, "book")
    assert shown(clients[0], session)["status"] == "idle"


def test_a_session_that_was_deleted_and_created_again_at_another_replica_is_not_answered_from_the_old_memory(
    clients: list[httpx.Client],
) -> None:
    session = created(clients[0])
    appended(clients[0], session, TEXT[:5000])
    before = asked(clients[0], session)
    assert clients[1].delete(f"/v1/sessions/{session}").status_code == 204
    problem(clients[0].get(f"/v1/sessions/{session}"), 404, "session_not_found", "id")
    created(clients[1], id=session)
    appended(clients[1], session, TEXT[9000:14000])
    after = [asked(http, session) for http in clients]
    assert after[0]["answer"] == after[1]["answer"] != before["answer"]
