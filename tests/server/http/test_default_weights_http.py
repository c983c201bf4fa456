"""The default weights, made as `make weights` makes them, read texts and answer over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from server.settings import Settings
from testing.replies import appended, asked, created
from testing.serving import ROOT, Server, client
from tests.pretrained import gguf_file

FACT = "Captain Alder had left his blue coat at the inn. "
PARAGRAPHS = (
    "The harbour lay quiet that morning, and the nets were hung along the quay to dry. ",
    "In the town hall the clerks counted the taxes of the year and found a mistake in the third book. ",
    "A cart with barrels of salt came down the hill, drawn by two old horses that knew the way. ",
    "The schoolmaster read a long letter from his brother, who was building a bridge in the north. ",
)


@pytest.fixture(scope="module")
def default_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / Settings().weights.name
    found = re.search(r"-m model\.attach \S+ \S+ (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert found
    command = [sys.executable, "-m", "model.attach", str(gguf_file()), str(folder), *found[1].split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_default_weights_find_the_place_in_a_long_text_and_answer_from_a_short_one(default_weights: Path) -> None:
    question = {"question": "What colour was the coat of Captain Alder?", "max_tokens": 16}
    short = "".join((*PARAGRAPHS, FACT, *PARAGRAPHS)).encode()
    long = "".join((*PARAGRAPHS * 20, FACT, *PARAGRAPHS[::-1] * 20)).encode()
    with Server(default_weights, "memory://") as server, client(server) as http:
        for text in (short, long):
            session = created(http)
            appended(http, session, text)
            answer = asked(http, session, **question)
            best = answer["sources"][0]
            assert FACT.strip() in best["text"]
            assert text[best["offset"] : best["offset"] + best["bytes"]].decode() == best["text"]
            # A model of this size answers reliably only from a few sentences.
            if text is short:
                assert "blue" in answer["answer"]
    assert answer["usage"]["memory_tokens"] > 3_000
