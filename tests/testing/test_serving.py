"""The server under test: the system picks its port, and a restart keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testing.serving import Server, client


@pytest.mark.parametrize("forks", [False, True])
def test_a_restarted_server_keeps_the_port_that_the_system_picked(tiny_weights: Path, forks: bool) -> None:
    server = Server(tiny_weights, "memory://")
    server.forks = forks
    with server, client(server) as http:
        port = server.port
        assert http.get("/readyz").status_code == 200
        server.kill()
        server.start()
        assert server.port == port
        assert http.get("/readyz").status_code == 200


def test_the_log_of_a_server_that_does_not_start_is_in_the_error(tiny_weights: Path) -> None:
    with pytest.raises(AssertionError, match=r"the server did not start:\n(.|\n)*missing"):
        Server(tiny_weights / "missing", "memory://").start()
