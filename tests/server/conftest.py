"""What the server's tests share: weights whose window has room for long answers and whose segments read fast, a
Valkey, and a client of the module's server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from model import weights
from model.tokenizer import TextTokenizer
from testing.models import random_model, tiny_config
from testing.redis_binaries import require
from testing.redis_servers import RedisServer
from testing.serving import Server, client


@pytest.fixture(scope="session")
def roomy_weights(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Path:
    """A folder of weights that read long segments and write answers of thousands of tokens."""
    folder = tmp_path_factory.mktemp("weights") / "roomy"
    model = random_model(tiny_config(segment_tokens=128, window_tokens=8192))
    weights.save(folder, model, tokenizer, torch.float32)
    return folder


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Valkey for the module's tests, which neither stop it nor mind what else it holds."""
    with RedisServer(require("valkey9"), tmp_path_factory.mktemp("valkey")) as server:
        yield server


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of the server that the test's module starts."""
    with client(server) as http:
        yield http
