"""What the tests over HTTP share: weights whose window has room for long answers and whose segments read fast,
and a client of the module's server."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch

from model import weights
from model.tokenizer import TextTokenizer
from tests.conftest import random_model, tiny_config
from tests.server.serving import Server, client


@pytest.fixture(scope="session")
def roomy_weights(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Path:
    """A folder of weights that read long segments and write answers of thousands of tokens."""
    folder = tmp_path_factory.mktemp("weights") / "roomy"
    model = random_model(tiny_config(segment_tokens=128, window_tokens=8192))
    weights.save(folder, model, tokenizer, torch.float32)
    return folder


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A client of the server that the test's module starts."""
    with client(server) as http:
        yield http
