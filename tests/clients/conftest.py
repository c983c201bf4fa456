"""Fixtures of the clients' tests: a server on each store, and clients with short pauses between retries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from model.tokenizer import TextTokenizer
from model.weights import save
from onceread import AsyncOnceread, Onceread, Retries
from testing.models import random_model, tiny_config
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from testing.serving import Server

QUICK = Retries(first_seconds=0.01, longest_seconds=0.1)


@pytest.fixture(scope="session")
def quick_weights(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Path:
    """A folder of weights that read long segments, and so read fast."""
    folder = tmp_path_factory.mktemp("weights") / "quick"
    save(folder, random_model(tiny_config(segment_tokens=128, window_tokens=1024)), tokenizer, torch.float32)
    return folder


@contextmanager
def served(weights: Path, store: str, folder: Path) -> Iterator[Server]:
    """A server of these weights with a store of this kind."""
    if store == "sqlite":
        with Server(weights, f"sqlite:///{folder}") as server:
            yield server
        return
    valkey, keys = RedisServer(require("valkey9"), folder / "valkey"), str(folder / "seal.keys")
    with valkey, Server(weights, valkey.url, seal_keys_file=keys) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_server(quick_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(quick_weights, "sqlite", tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_server(quick_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(quick_weights, "valkey", tmp_path_factory.mktemp("store")) as server:
        yield server


@pytest.fixture(scope="module", params=["sqlite", "valkey"])
def server(request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{request.param}_server")
    return found


@pytest.fixture
def client(server: Server) -> Iterator[Onceread]:
    with Onceread(server.url, retries=QUICK) as client:
        yield client


@pytest.fixture
async def async_client(server: Server) -> AsyncIterator[AsyncOnceread]:
    async with AsyncOnceread(server.url, retries=QUICK) as client:
        yield client
