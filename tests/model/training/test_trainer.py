"""A run that is interrupted goes on as if it had not been."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training import trainer
from model.training.curriculum import Stage
from model.training.loss import outcome
from model.training.samples import IGNORED, Plan, make_batch
from model.training.trainer import LOG, STATE, Trainer
from tests.conftest import prose, random_model, tiny_config

STAGES = (
    Stage("first", 8, (1, 2), 64, (1, 3), 1, 3, 2.0, 0.0, 0.0, 1e-3, 1e-3),
    Stage("second", 8, (2, 3), 64, (1, 3), 1, 4, 2.0, 0.02, 0.15, 1e-3, 1e-4),
)
BOOKS = Books(prose(5, 20_000))


@pytest.fixture
def make(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Trainer]:
    monkeypatch.setattr(trainer, "SAVE_EVERY_STEPS", 2)
    config = tiny_config(window_tokens=200, segment_tokens=16)
    return lambda folder: Trainer(folder, config, tokenizer, BOOKS, STAGES, seed=1)


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "step_seconds"} for line in found]


def test_an_interrupted_run_ends_in_the_same_weights(make: Callable[[Path], Trainer], tmp_path: Path) -> None:
    make(tmp_path / "whole").run()
    cut = make(tmp_path / "cut")
    log = cut._log

    def interrupted(line: dict[str, Any]) -> None:
        log(line)
        if line["step"] == 5:
            raise KeyboardInterrupt

    cut._log = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    make(tmp_path / "cut").run()
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    whole, other = (load_file(tmp_path / name / "weights" / "weights.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], other[name]) for name in whole)
    assert len(lines(tmp_path / "whole")) == 7


def test_a_damaged_state_is_refused_and_kept(make: Callable[[Path], Trainer], tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"no state")
    with pytest.raises(ValueError, match="can not be resumed"):
        make(tmp_path)
    assert (tmp_path / STATE).read_bytes() == b"no state"


def test_labels_are_the_answers(tokenizer: TextTokenizer) -> None:
    config = tiny_config(window_tokens=200)
    batch = make_batch(Random(1), Plan(4, 3, 16, (2, 4), 3, 4), config, tokenizer, BOOKS)
    assert batch.segments.shape == (4, 3, 16)
    seen = 0
    for exam in batch.exams:
        for tokens, labels in zip(exam.tokens.flatten(0, 1), exam.labels.flatten(0, 1), strict=True):
            answer = labels[labels != IGNORED].tolist()
            if not answer:
                continue
            seen += 1
            assert answer[-1] == config.special.end
            first = int((labels != IGNORED).nonzero()[0])
            assert tokens[first] == config.special.answer
            assert tokens[first + 1 : first + len(answer)].tolist() == answer[:-1]
    assert seen


def test_the_price_is_paid_for_writing(tokenizer: TextTokenizer) -> None:
    config = replace(tiny_config(window_tokens=200), segment_tokens=16)
    model = random_model(config)
    batch = make_batch(Random(1), Plan(2, 2, 16, (2, 3), 2, 2), config, tokenizer, BOOKS)
    free, dear = outcome(model, batch, 0.0), outcome(model, batch, 10.0)
    assert float(dear.loss) == pytest.approx(float(free.loss) + 10 * free.write_rate, rel=1e-5)
