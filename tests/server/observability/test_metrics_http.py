"""Every metric has its promised name, none is labelled by session, and the server moves each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server.observability.metrics import Metrics
from testing.models import prose
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from testing.replies import appended, asked, created, eventually, post, problem
from testing.serving import Server, client
from tests.server.http.test_overload_http import LONG, send_raw

PROMISED = """
onceread_num_requests_running{phase} onceread_num_requests_waiting{phase} onceread_queued_tokens
onceread_time_to_first_token_seconds onceread_inter_token_latency_seconds onceread_e2e_request_latency_seconds{phase}
onceread_read_tokens_total onceread_generation_tokens_total onceread_sessions{tier} onceread_memory_bytes{tier}
onceread_memory_load_seconds{source} onceread_checkpoint_seconds onceread_checkpoint_bytes_total
onceread_unstored_oldest_seconds
onceread_checkpoints_refused_total{reason} onceread_store_up onceread_store_errors_total{op}
onceread_requests_rejected_total{reason} onceread_text_rolled_back_total
onceread_unread_bytes onceread_step_seconds
""".split()

# What is above zero while there is more to do than can be done at once.
WHILE_BUSY = """
onceread_num_requests_running{phase="answer"} onceread_num_requests_running{phase="read"}
onceread_num_requests_waiting{phase="answer"} onceread_num_requests_waiting{phase="read"}
onceread_queued_tokens onceread_unread_bytes onceread_unstored_oldest_seconds
""".split()
# What has grown once a text has been read and stored, and a question answered.
ONCE_DONE = """
onceread_time_to_first_token_seconds_count onceread_inter_token_latency_seconds_count
onceread_e2e_request_latency_seconds_count{phase="text"} onceread_e2e_request_latency_seconds_count{phase="queries"}
onceread_read_tokens_total onceread_generation_tokens_total onceread_sessions{tier="device"}
onceread_memory_bytes{tier="device"} onceread_memory_load_seconds_count{source="store"}
onceread_checkpoint_seconds_count onceread_checkpoint_bytes_total onceread_store_up onceread_step_seconds_count
""".split()
ROUNDS_MAX = 20


def test_metric_names_and_labels() -> None:
    metrics = [metric for metric in vars(Metrics()).values() if hasattr(metric, "_labelnames")]
    names = {
        f"{family.name}{'_total' if family.type == 'counter' else ''}" + f"{{{','.join(labels)}}}" * bool(labels)
        for metric in metrics
        for family, labels in ((next(iter(metric.collect())), metric._labelnames),)
    }
    assert names == set(PROMISED)


def scraped(http: httpx.Client) -> dict[str, float]:
    """Every sample by its name and labels, as a line of /metrics begins."""
    samples = {}
    for family in text_string_to_metric_families(http.get("/metrics").text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sample.labels.items())
            samples[sample.name + f"{{{labels}}}" * bool(labels)] = sample.value
    return samples


def all_become_positive(http: httpx.Client, names: list[str]) -> None:
    """Returns once each metric has been above zero, not necessarily all at the same time."""
    left = set(names)

    def check() -> bool:
        samples = scraped(http)
        left.difference_update([name for name in left if samples.get(name, 0) > 0])
        assert not left, f"never above zero: {left}"
        return True

    eventually(check)


def test_waiting_and_running_work_is_exported(roomy_weights: Path) -> None:
    never = {"idle_seconds": "3600", "checkpoint_segments": "65536", "checkpoint_seconds": "3600"}
    with (
        Server(roomy_weights, "memory://", answers_max="1", reading_sessions_max="1", **never) as server,
        client(server) as http,
    ):
        asked_about = created(http)
        appended(http, asked_about, prose(61, 3000).encode())
        body = json.dumps(LONG).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        questions = [send_raw(server, f"/v1/sessions/{asked_about}/queries", headers, body) for _ in range(2)]
        text = prose(62, 400_000).encode()
        for _ in range(3):
            assert post(http, created(http), text).status_code == 200
        all_become_positive(http, WHILE_BUSY)
        for connection in questions:
            connection.close()


@pytest.fixture(scope="module")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One that the last test of this file kills."""
    with RedisServer(require("valkey9"), tmp_path_factory.mktemp("valkey")) as valkey:
        yield valkey


@pytest.fixture(scope="module")
def server(tiny_weights: Path, valkey: RedisServer) -> Iterator[Server]:
    with Server(tiny_weights, valkey.url, idle_seconds="0.5") as server:
        yield server


def test_finished_work_is_counted(http: httpx.Client) -> None:
    session = created(http)
    appended(http, session, prose(63, 3000).encode())
    before = scraped(http)
    answer = asked(http, session, max_tokens=9)
    all_become_positive(http, ONCE_DONE)
    after = scraped(http)
    tokens = answer["usage"]["completion_tokens"]
    assert tokens > 1
    for name, growth in (
        ("onceread_generation_tokens_total", tokens),
        ("onceread_time_to_first_token_seconds_count", 1),
        ("onceread_inter_token_latency_seconds_count", tokens - 1),
        ("onceread_requests_rejected_total", 0),
    ):
        assert after.get(name, 0) - before.get(name, 0) == growth
    assert after["onceread_queued_tokens"] == after["onceread_unread_bytes"] == 0


def test_refusals_are_counted_by_error_code(http: httpx.Client) -> None:
    problem(http.get("/v1/sessions/never"), 404, "session_not_found", "id")
    problem(http.post("/v1/sessions/never/queries", json={"question": 7}), 422, "invalid_field", "question")
    samples = scraped(http)
    for code in ("session_not_found", "invalid_field"):
        assert samples[f'onceread_requests_rejected_total{{reason="{code}"}}'] >= 1
    assert not any(name.endswith('{reason="404"}') for name in samples)


def test_rolled_back_text_is_counted(http: httpx.Client) -> None:
    session = created(http)
    receipt = post(http, session, b"text").headers["Onceread-Receipt"]
    http.delete(f"/v1/sessions/{session}")
    created(http, id=session)
    problem(post(http, session, b"more", Onceread_Receipt=receipt), 409, "text_rolled_back")
    assert scraped(http)["onceread_text_rolled_back_total"] == 1


def test_failed_checkpoints_are_counted(http: httpx.Client, valkey: RedisServer) -> None:
    name = 'onceread_checkpoints_refused_total{reason="session_missing"}'
    for _ in range(ROUNDS_MAX):
        session = created(http)
        stored = scraped(http)["onceread_checkpoint_seconds_count"]
        appended(http, session, prose(64, 500).encode())
        valkey.client().flushall()

        def attempted(stored: float = stored) -> bool:
            samples = scraped(http)
            return samples.get(name, 0) > 0 or samples["onceread_checkpoint_seconds_count"] > stored

        # Where the memory was stored before its session was gone, or the reader saw that it is gone: try again.
        with suppress(AssertionError):
            eventually(attempted, seconds=5)
        if scraped(http).get(name, 0) > 0:
            return
    raise AssertionError("no memory was refused")


def test_an_unavailable_store_is_exported(http: httpx.Client, valkey: RedisServer) -> None:
    session = created(http)
    before = scraped(http)
    valkey.kill()
    problem(post(http, session, b"text"), 503, "store_unavailable")
    after = scraped(http)
    assert (before["onceread_store_up"], after["onceread_store_up"]) == (1, 0)
    failed = 'onceread_store_errors_total{op="get"}'
    assert after[failed] > before.get(failed, 0)


def test_every_metric_is_covered_by_these_tests() -> None:
    elsewhere = (
        "onceread_requests_rejected_total onceread_text_rolled_back_total onceread_checkpoints_refused_total "
        "onceread_store_errors_total"
    ).split()
    seen = {name.partition("{")[0].removesuffix("_count") for name in (*WHILE_BUSY, *ONCE_DONE, *elsewhere)}
    assert seen == {name.partition("{")[0] for name in PROMISED}
