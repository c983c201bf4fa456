"""Probes, version and metrics over HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from server import VERSION
from server.observability.metrics import Metrics
from testing.models import prose, tiny_config
from testing.replies import appended, asked, created, metric
from testing.serving import Server

LABELS = {"phase", "tier", "source", "op", "reason", "le"}


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        yield server


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_liveness_and_readiness(http: httpx.Client, path: str) -> None:
    reply = http.get(path)
    assert (reply.status_code, reply.content) == (200, b"")


def test_health_and_version_name_model_and_store(http: httpx.Client) -> None:
    version = http.get("/version").json()
    named = {"version": VERSION, "model": "tiny", "store": "memory", "durability": "volatile"}
    limits = {
        "segment_tokens": tiny_config().segment_tokens,
        "memory_tokens": None,
        "question_characters": 8192,
        "answer_tokens": 4096,
    }
    found = {name: version[name] for name in ("fingerprint", "extracts")}
    assert version == {**named, **found, "limits": limits}
    assert len(version["fingerprint"]) == 64
    assert http.get("/health").json() == {"status": "ready", **version}


def test_every_metric_is_exported_and_none_names_a_session(http: httpx.Client) -> None:
    session = created(http, id="whose-name-is-secret")
    appended(http, session, prose(41, 2000).encode())
    asked(http, session)
    http.get("/v1/sessions/never")
    reply = http.get("/metrics")
    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(reply.text)}
    # The client library adds the time at which each was made.
    names = {name for name in families if not name.endswith("_created")}
    assert names == {family.name for family in Metrics().registry.collect()}
    for family in families.values():
        assert family.documentation
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS
    assert session not in reply.text
    assert "default" not in reply.text


def test_requests_move_the_metrics(http: httpx.Client) -> None:
    session = created(http)
    counted = (
        "onceread_read_tokens_total",
        "onceread_generation_tokens_total",
        "onceread_time_to_first_token_seconds_count",
        'onceread_e2e_request_latency_seconds_count{phase="queries"}',
        'onceread_e2e_request_latency_seconds_count{phase="text"}',
        'onceread_memory_load_seconds_count{source="store"}',
    )
    # Before the first time, what has labels is not there.
    appended(http, session, b"text ")
    asked(http, session)
    http.get("/v1/sessions/never")
    before = [metric(http, name) for name in counted]
    refused = metric(http, 'onceread_requests_rejected_total{reason="session_not_found"}')
    steps = metric(http, "onceread_step_seconds_count")

    other = created(http)
    appended(http, other, prose(42, 2000).encode())
    answer = asked(http, other, max_tokens=7)
    http.get("/v1/sessions/never")

    grown = [metric(http, name) - value for name, value in zip(counted, before, strict=True)]
    tokens = http.get(f"/v1/sessions/{other}").json()["text"]["tokens"]
    assert grown == [tokens, answer["usage"]["completion_tokens"], 1, 1, 1, 1]
    assert metric(http, 'onceread_requests_rejected_total{reason="session_not_found"}') == refused + 1
    assert metric(http, "onceread_step_seconds_count") > steps
    assert metric(http, "onceread_unread_bytes") == 0
    assert metric(http, 'onceread_num_requests_running{phase="answer"}') == 0
    assert metric(http, 'onceread_sessions{tier="device"}') >= 2
    assert metric(http, 'onceread_memory_bytes{tier="device"}') > 0


def test_store_up_is_exported(http: httpx.Client) -> None:
    assert http.get("/readyz").status_code == 200
    assert metric(http, "onceread_store_up") == 1
