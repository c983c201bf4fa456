"""The gateways' configuration files: each gateway accepts its file, and each file has the required settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.charts import DEPLOY
from tests.deploy.gateways import FILES, check, settings

PORTS = (18001, 18002, 18003)
GATEWAYS = sorted(FILES)
SAID = {
    "haproxy": (
        "balance hash var(txn.session)",
        "hash-type consistent",
        "hdr(X-Session-ID)",
        "timeout http-request 10s",
        "set-timeout server 30s if { path_end /text }",
        "retry-on conn-failure\n",
        "option http-no-delay",
    ),
    "nginx": (
        "hash $session consistent;",
        "$http_x_session_id",
        "client_header_timeout 10s;",
        "client_body_timeout 30s;",
        "proxy_request_buffering off;",
        "proxy_buffering off;",
        "proxy_next_upstream error timeout;",
    ),
    "envoy": (
        "lb_policy: RING_HASH",
        "header_name: x-session-id",
        "request_headers_timeout: 10s",
        "stream_idle_timeout: 30s",
        "retry_on: connect-failure\n",
    ),
}


def written(name: str, folder: Path) -> Path:
    file = folder / FILES[name]
    file.write_text(settings(name, PORTS, 18000))
    return file


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_gateway_accepts_its_configuration(name: str, tmp_path: Path) -> None:
    done = check(name, written(name, tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_wrong_directive_is_refused(name: str, tmp_path: Path) -> None:
    file = written(name, tmp_path)
    wrong = {"haproxy": "hash-type", "nginx": "proxy_buffering", "envoy": "lb_policy"}[name]
    file.write_text(file.read_text().replace(wrong, f"{wrong}_wrong"))
    assert check(name, file).returncode != 0


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_configuration_hashes_sessions_times_out_slow_clients_and_never_retries_a_sent_request(name: str) -> None:
    text = (DEPLOY / "gateway" / FILES[name]).read_text()
    assert not [words for words in SAID[name] if words not in text]
