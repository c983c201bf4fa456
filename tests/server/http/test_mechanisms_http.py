"""Every mechanism serves sessions: text read in cuts, through a kill, gives the model's own answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from model import weights
from model.config import ModelConfig
from model.evaluation.readers import local_reader
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, MECHANISMS, prose, random_model
from testing.replies import appended, asked, created
from testing.serving import Server, client

# Ends so that its last tokens, which wait for the next byte, are in the same segment as those before them.
TEXT = prose(32, 4_000)
QUESTIONS = ("Who was there?", "Where was it, and when?")
ANSWER_TOKENS = 8
CONFIGS = {**MECHANISMS, "episodic": EPISODIC}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_session_survives_a_kill_and_answers_as_the_model_does(
    name: str, tokenizer: TextTokenizer, tmp_path: Path
) -> None:
    config: ModelConfig = CONFIGS[name]
    weights.save(tmp_path / "weights", random_model(config), tokenizer, torch.float32)
    expected = local_reader(weights.load(tmp_path / "weights"), lambda _: None)(TEXT, QUESTIONS)
    data = TEXT.encode()
    # Random weights make much of the last bits: a segment a step, as the model itself reads.
    settings = {"checkpoint_segments": "4", "step_tokens": str(config.segment_tokens)}
    with Server(tmp_path / "weights", f"sqlite:///{tmp_path / 'store'}", **settings) as server:
        with client(server) as http:
            session = created(http)
            appended(http, session, data[:1_111])
            appended(http, session, data[1_111:1_777])
        server.kill()
        server.start()
        with client(server) as http:
            appended(http, session, data[1_777:])
            found = [
                asked(http, session, question=question, max_tokens=ANSWER_TOKENS)["answer"] for question in QUESTIONS
            ]
    assert found == expected
