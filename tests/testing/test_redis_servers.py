"""The servers that other tests stand on: durable, mortal, and groups of them that outlive their masters."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from redis.exceptions import AuthenticationError, ConnectionError, TimeoutError

from testing.redis_binaries import BINARIES, Missing, available, require
from testing.redis_groups import Cluster, Sentinels
from testing.redis_servers import RedisServer
from testing.redis_tls import tls

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def binary() -> str:
    return require("valkey9")


@pytest.mark.parametrize("name", BINARIES)
def test_what_was_acknowledged_is_there_after_a_kill(name: str, tmp_path: Path) -> None:
    with RedisServer(require(name), tmp_path) as server:
        for number in range(100):
            server.command("SET", f"key-{number}", number)
        server.kill()
        server.start()
        assert server.command("MGET", *(f"key-{number}" for number in range(100))) == [b"%d" % n for n in range(100)]
        assert server.stop() == 0


def test_without_the_file_of_appends_nothing_is_there_after_a_kill(binary: str, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path, appendonly="no") as server:
        server.command("SET", "key", "value")
        server.kill()
        server.start()
        assert server.command("GET", "key") is None


def test_a_paused_server_takes_connections_and_answers_later(binary: str, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path) as server, server.client(socket_timeout=0.1) as client:
        server.pause()
        with pytest.raises(TimeoutError):
            client.ping()
        server.resume()
        assert server.command("PING")


def test_a_server_that_can_not_start_says_why(binary: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"ended(?s:.)*Bad directive"):
        RedisServer(binary, tmp_path, no_such_setting="1").start()


def test_a_server_outlives_the_thread_that_started_it(binary: str, tmp_path: Path) -> None:
    server = RedisServer(binary, tmp_path)
    thread = threading.Thread(target=server.start)
    thread.start()
    thread.join()
    with server:
        assert server.log.count("Ready to accept connections") == 1
        assert server.command("PING")


def test_a_server_ends_with_the_process_that_started_it(binary: str, tmp_path: Path) -> None:
    program = (
        "import sys, pathlib, testing.redis_servers as servers\n"
        f"print(servers.RedisServer({binary!r}, pathlib.Path(sys.argv[1])).start().port, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        orphan = RedisServer(binary, tmp_path / "client")
        orphan.port = int(process.stdout.readline())
        with orphan.client() as client:
            blocked = client.pubsub()
            blocked.subscribe("channel")
            assert blocked.get_message(timeout=60)
            process.send_signal(signal.SIGKILL)
            with pytest.raises(ConnectionError):
                blocked.get_message(timeout=60)
            blocked.close()


def test_a_replica_has_what_its_master_had(binary: str, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path / "master") as master, RedisServer(binary, tmp_path / "replica") as replica:
        master.command("SET", "key", "value")
        assert replica.replica_of(master).command("GET", "key") == b"value"


def test_nobody_enters_without_the_password(binary: str, tmp_path: Path) -> None:
    with RedisServer(binary, tmp_path, login=("reader", "secret")) as server:
        assert server.command("ACL", "WHOAMI") == b"reader"
        with pytest.raises(AuthenticationError), server.client(username=None, password=None) as client:
            client.ping()
        with pytest.raises(AuthenticationError), server.client(password="guessed") as client:
            client.ping()


def test_tls_refuses_a_client_without_a_certificate(tmp_path: Path) -> None:
    with RedisServer(require("redis7"), tmp_path, tls=tls(tmp_path / "certificates")) as server:
        assert server.command("SET", "key", "value")
        for options in ({"ssl_certfile": None, "ssl_keyfile": None}, {"ssl": False}):
            with pytest.raises(ConnectionError), server.client(**options) as client:
                client.ping()


def test_sentinels_agree_on_a_new_master(binary: str, tmp_path: Path) -> None:
    with Sentinels(binary, tmp_path) as group:
        with group.master().client() as client:
            client.set("key", "value")
            assert client.wait(2, 5_000) == 2
        stood_still = group.master()
        stood_still.pause()
        assert group.master() is not stood_still
        assert group.master().command("GET", "key") == b"value"


def test_a_cluster_outlives_a_master(binary: str, tmp_path: Path) -> None:
    keys = ("a", "b", "c")
    with Cluster(binary, tmp_path) as cluster:
        masters = {cluster.master_of(key) for key in keys}
        assert len(masters) == 3
        for key in keys:
            with cluster.master_of(key).client() as client:
                client.set(key, key)
                assert client.wait(1, 5_000) == 1
        assert cluster.kill_master_of("a") in masters
        assert cluster.master_of("a") not in masters
        assert [cluster.master_of(key).command("GET", key) for key in keys] == [b"a", b"b", b"c"]


def test_a_missing_server_is_skipped_here_and_fails_where_ci_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Path:
        raise Missing("pip install it")

    monkeypatch.setitem(BINARIES, "missing", missing)
    assert not available("missing")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="pip install it"):
        require("missing")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="pip install it"):
        require("missing")
