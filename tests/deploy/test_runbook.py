"""The runbook's backup and key rotation, executed as written: what is restored, and what clients see."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from testing.replies import appended, asked, created, problem
from testing.serving import ROOT, Server, client

RECEIPT = "Onceread-Receipt"


def served(weights: Path, valkey: RedisServer, keys: Path) -> Server:
    return Server(weights, valkey.url, seal_keys_file=str(keys), lease_seconds="1")


def answer_of(http: httpx.Client) -> str:
    return str(asked(http, "book")["answer"])


def rotate(keys: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "server", "rotate-seal-key"],
        cwd=ROOT,
        env={"ONCEREAD_SEAL_KEYS_FILE": str(keys), "ONCEREAD_STORE": "redis://127.0.0.1"},
        check=True,
        capture_output=True,
    )


def test_a_snapshot_of_valkeys_volume_restores_all_text_acknowledged_before_it(
    tiny_weights: Path, tmp_path: Path
) -> None:
    """The volume is copied while Valkey runs, and restored with the seal keys into another Valkey."""
    keys = tmp_path / "seal.keys"
    with (
        RedisServer(require("valkey9"), tmp_path / "volume") as valkey,
        served(tiny_weights, valkey, keys) as server,
        client(server) as http,
    ):
        created(http, id="book")
        appended(http, "book", b"Once there was a backup. ")
        expected = answer_of(http)
        valkey.pause()
        shutil.copytree(tmp_path / "volume" / "appendonlydir", tmp_path / "restored" / "appendonlydir")
        valkey.resume()
        late = http.post("/v1/sessions/book/text", content=b"It went on. ").headers[RECEIPT]
        created(http, id="younger")
    with (
        RedisServer(require("valkey9"), tmp_path / "restored") as valkey,
        served(tiny_weights, valkey, keys) as server,
        client(server) as http,
    ):
        assert answer_of(http) == expected
        reply = http.post("/v1/sessions/book/text", content=b"x", headers={RECEIPT: late, "Upload-Offset": "37"})
        assert problem(reply, 409, "text_rolled_back")["expected_offset"] == 25
        problem(http.get("/v1/sessions/younger"), 404, "session_not_found", "id")


def test_the_seal_key_can_be_rotated_while_no_server_runs(tiny_weights: Path, tmp_path: Path) -> None:
    keys = tmp_path / "seal.keys"
    with RedisServer(require("valkey9"), tmp_path / "volume") as valkey:
        with served(tiny_weights, valkey, keys) as server, client(server) as http:
            created(http, id="book")
            appended(http, "book", b"Once there was a key. ")
            expected = answer_of(http)
        before = keys.read_text()
        rotate(keys)
        assert keys.read_text().endswith(before)
        with served(tiny_weights, valkey, keys) as server, client(server) as http:
            assert answer_of(http) == expected
            appended(http, "book", b"It was changed. ")


def test_the_seal_key_can_be_rotated_one_server_at_a_time(tiny_weights: Path, tmp_path: Path) -> None:
    """Every server gets the new key in second place first, then in front: none meets a value that it cannot open."""
    old = tmp_path / "old.keys"
    rotate(old)
    rotate(old)
    first, last = old.read_text().splitlines()
    rotated = tmp_path / "rotated.keys"
    shutil.copy(old, rotated)
    rotate(rotated)
    new = rotated.read_text().splitlines()[0]
    files = {}
    for name, lines in {"second": [first, new, last], "front": [new, first, last]}.items():
        files[name] = tmp_path / f"{name}.keys"
        files[name].write_text("".join(f"{line}\n" for line in lines))
    with RedisServer(require("valkey9"), tmp_path / "volume") as valkey:
        for number, (one, other) in enumerate([(old, files["second"]), (files["second"], files["front"])]):
            with (
                served(tiny_weights, valkey, one) as a,
                served(tiny_weights, valkey, other) as b,
                client(a) as at_one,
                client(b) as at_other,
            ):
                if not number:
                    created(at_one, id="book")
                for http in (at_one, at_other, at_one):
                    appended(http, "book", b"The servers take turns. ")
                assert answer_of(at_one) == answer_of(at_other)
