"""A Valkey at `maxmemory` and a full disk: the server refuses text, answers, loses nothing, and reads on by itself."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import httpx
import pytest
import torch

from model import weights
from model.tokenizer import TextTokenizer
from reliability.stores.smalldisk import small_disk
from server.store import open_store
from server.store.base import SessionKey
from server.store.open import StoreOptions
from testing.models import prose, random_model, tiny_config
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from testing.replies import appended, asked, created, eventually, metric, offsets, post, problem, shown_once
from testing.serving import ROOT, Server, client

WORDS = "Who could know the little morning upon the river?"
PIECE_BYTES = 16 << 10
TEXTS = {name: prose(seed, 200_000).encode() for name, seed in (("first", 41), ("second", 42))}
OTHERS = [f"other-{number}" for number in range(8)]
LEFT_BYTES = 150_000
SETTINGS = {"checkpoint_segments": "64", "idle_seconds": "0.1", "sweep_seconds": "0.2", "lease_seconds": "1"}


def limit(server: RedisServer, bytes_max: int) -> None:
    server.command("CONFIG", "SET", "maxmemory", bytes_max)


def filled(http: httpx.Client) -> dict[str, int]:
    """Sends both texts piece by piece until both are refused as full; how far each was acknowledged."""
    ends = dict.fromkeys(TEXTS, 0)
    sending = list(TEXTS)
    while sending:
        for name in tuple(sending):
            text = TEXTS[name][ends[name] : ends[name] + PIECE_BYTES]
            assert text, "the store never became full"
            reply = post(http, name, text, Upload_Offset=str(ends[name]))
            if reply.status_code == 200:
                ends[name] = reply.json()["accepted_bytes"]
            else:
                problem(reply, 507, "store_full")
                sending.remove(name)
    return ends


def must_answer(http: httpx.Client, ends: dict[str, int]) -> None:
    """Questions are answered about all that was acknowledged, and no more than that was accepted."""
    for name, end in ends.items():
        assert asked(http, name, question=WORDS)["memory"]["offset"] == end
        assert offsets(http, name) == (end, end)


def sent(http: httpx.Client, ends: dict[str, int]) -> None:
    """Sends the rest of both texts, which is read to its end."""
    for name, end in ends.items():
        reply = post(http, name, TEXTS[name][end:], Upload_Offset=str(end))
        assert reply.status_code == 200, reply.text
    eventually(lambda: all(offsets(http, name) == (len(text), len(text)) for name, text in TEXTS.items()))


def must_hold(url: str, options: StoreOptions) -> None:
    """Every byte of both texts is in the store, and no memory is damaged."""

    async def look() -> None:
        store = await open_store(url, options)
        try:
            for name, text in TEXTS.items():
                key = SessionKey("default", name)
                assert await store.journal(key, 0, len(text)) == text
                recovery = await store.recover(key)
                assert recovery.damaged == ()
                assert len(recovery.checkpoints) > 0
        finally:
            await store.close()

    asyncio.run(look())


def answers(http: httpx.Client) -> list[tuple[str, int]]:
    given = [asked(http, name, question=WORDS) for name in TEXTS]
    return [(answer["answer"], answer["memory"]["offset"]) for answer in given]


@pytest.fixture(scope="module")
def general(tokenizer: TextTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small weights with a general memory, which grows with the text and is read fast."""
    folder = tmp_path_factory.mktemp("weights") / "general"
    shape = {"segment_tokens": 128, "window_tokens": 1024, "recall_tokens": 256}
    weights.save(folder, random_model(tiny_config(mechanism="episodic", **shape)), tokenizer, torch.float32)
    return folder


@pytest.fixture(scope="module")
def undisturbed(general: Path) -> list[tuple[str, int]]:
    """The answers of a server whose store was never full."""
    with Server(general, "memory://", **SETTINGS) as server, client(server) as http:
        for name, text in TEXTS.items():
            created(http, id=name)
            appended(http, name, text)
        return answers(http)


@pytest.mark.parametrize("way", ["maxmemory is raised", "sessions are deleted"])
def test_a_full_valkey(way: str, general: Path, undisturbed: list[tuple[str, int]], tmp_path: Path) -> None:
    keys = tmp_path / "seal.keys"
    with RedisServer(require("valkey9"), tmp_path / "valkey") as valkey:
        server = Server(general, valkey.url, seal_keys_file=str(keys), **SETTINGS)
        with server, client(server) as http:
            for name in (*TEXTS, *OTHERS):
                created(http, id=name, keep_text=True)
            for name in OTHERS:
                appended(http, name, TEXTS["first"])
                shown_once(http, name, lambda body: body["memory"]["version"] > 0)
            enough = int(valkey.command("INFO", "memory")["used_memory"]) + LEFT_BYTES
            limit(valkey, enough)
            ends = filled(http)
            # Not even a few bytes are free from here on.
            limit(valkey, 1)
            must_answer(http, ends)
            problem(http.post("/v1/sessions", json={"id": "new"}), 507, "store_full")
            problem(http.post("/v1/sessions/first/snapshots", json={"name": "one"}), 507, "store_full")
            assert http.get("/readyz").status_code == 200
            assert metric(http, 'onceread_requests_rejected_total{reason="store_full"}') >= 4
            server.kill()
            server.start()
            # Restored from the last memory that was stored; the text after it is read again.
            must_answer(http, ends)
            if way == "sessions are deleted":
                for name in OTHERS:
                    assert http.delete(f"/v1/sessions/{name}").status_code == 204
                limit(valkey, enough)
            else:
                limit(valkey, 0)
            sent(http, ends)
            assert answers(http) == undisturbed
            assert server.terminate() == 0
        must_hold(valkey.url, StoreOptions(keys_file=keys))


def test_a_full_disk(general: Path, undisturbed: list[tuple[str, int]], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        server = Server(general, f"sqlite:///{disk.folder}/store", **SETTINGS)
        server.through = (*disk.place.through, f"--wd={ROOT}")
        with server, client(server) as http:
            for name in TEXTS:
                created(http, id=name, keep_text=True)
            with disk.full(LEFT_BYTES):
                ends = filled(http)
                must_answer(http, ends)
            sent(http, ends)
            assert answers(http) == undisturbed
            server.kill()
        shutil.copytree(disk.outside / "store", tmp_path / "copy")
    must_hold(f"sqlite:///{tmp_path / 'copy'}", StoreOptions())
