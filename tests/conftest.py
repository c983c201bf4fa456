"""What all tests share: asyncio, one torch thread, a folder of small random weights, and the default weights."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from model import weights
from model.tokenizer import TextTokenizer
from server.settings import Settings
from testing.models import prose, random_model, tiny_config
from testing.serving import ROOT, Server
from tests.pretrained import gguf_file

torch.set_num_threads(1)
# Hundreds of servers are started: each is spared the import of torch.
Server.forks = True
hypothesis_settings.register_profile(
    "project", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("project")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def tokenizer() -> TextTokenizer:
    return TextTokenizer.train([prose(1, 20_000)], 340)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory, tokenizer: TextTokenizer) -> Path:
    """A folder of weights of the small model."""
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    weights.save(folder, random_model(tiny_config()), tokenizer, torch.float32)
    return folder


@pytest.fixture(scope="session")
def default_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct with the general memory, made with the Makefile's own arguments."""
    folder = tmp_path_factory.mktemp("weights") / Settings().weights.name
    found = re.search(r"-m model\.attach \S+ \S+ (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    command = [sys.executable, "-m", "model.attach", str(gguf_file()), str(folder), *found[1].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder
