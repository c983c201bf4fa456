"""A run that is interrupted goes on as if it had not been."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from model import weights
from model.layers.fused_linear import split_fused
from model.mechanisms import build
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training import trainer
from model.training.curriculum import Stage
from model.training.hard import hard_sentences
from model.training.lora import adapt
from model.training.picture import AVERAGE_STEPS, draw, smoothed
from model.training.trainer import HARD, LOG, STATE, MuonByPart, Trainer
from testing.models import MECHANISMS, prose, random_delta, random_model, tiny_config

STAGES = (
    Stage("first", (1,), 8, (1, 2), (8, 16), 64, 1, 3, 2.0, 1e-3, 1e-3),
    Stage("second", (0, 1, 2, 3, 4, 5), 16, (2, 3), (8, 16), 64, 1, 4, 2.0, 1e-3, 1e-4, hard_share=0.5),
)
BOOKS = Books(prose(5, 20_000))


@pytest.fixture
def make(tokenizer: TextTokenizer, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Trainer]:
    monkeypatch.setattr(trainer, "SAVE_EVERY_STEPS", 2)
    config = tiny_config(window_tokens=200, segment_tokens=16)

    def made(folder: Path) -> Trainer:
        torch.manual_seed(1)
        return Trainer(folder, build(config), tokenizer, BOOKS, STAGES, seed=1)

    return made


def lines(folder: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "step_seconds"} for line in found]


@pytest.mark.parametrize("last", [2, 5, 6])
def test_an_interrupted_run_ends_in_the_same_weights(
    make: Callable[[Path], Trainer], tmp_path: Path, last: int
) -> None:
    make(tmp_path / "whole").run()
    cut = make(tmp_path / "cut")
    log = cut._log

    def interrupted(line: dict[str, Any]) -> None:
        log(line)
        if line["step"] == last:
            raise KeyboardInterrupt

    cut._log = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    make(tmp_path / "cut").run()
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")
    whole, other = (load_file(tmp_path / name / "weights" / "weights.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], other[name]) for name in whole)
    assert len(lines(tmp_path / "whole")) == 7
    assert json.loads((tmp_path / "cut" / HARD).read_text()) == json.loads((tmp_path / "whole" / HARD).read_text())


@pytest.mark.parametrize("name", MECHANISMS)
def test_every_mechanism_learns_whole_or_with_its_backbone_frozen(
    tokenizer: TextTokenizer, tmp_path: Path, name: str
) -> None:
    """What is saved is the backbone with its low-rank changes merged: a folder of weights like any other."""
    config = replace(MECHANISMS[name], window_tokens=200, segment_tokens=16)
    unchanged = random_model(config)
    before = split_fused(unchanged, unchanged.state_dict())
    for rank in (0, 2):
        model = random_model(config).train().requires_grad_(True)
        model = adapt(model, rank) if rank else model
        folder = tmp_path / str(rank)
        Trainer(folder, model, tokenizer, BOOKS, STAGES[1:], seed=1).run()
        after = weights.load(folder / "weights").model
        state = split_fused(after, after.state_dict())
        assert torch.equal(state["embedding.weight"], before["embedding.weight"]) is bool(rank)
        changed = state["blocks.0.attention.query.weight"] - before["blocks.0.attention.query.weight"]
        assert 0 < torch.linalg.matrix_rank(changed, tol=1e-6) <= (rank or 16)
        tokens, memory = torch.arange(20)[None], after.initial_memory(1)
        marked = torch.cat([tokens, torch.tensor([config.special.answer])], dim=1)
        torch.testing.assert_close(model.eval().window(marked, memory), after.window(marked, memory))


def test_the_plot_of_a_run_is_drawn(make: Callable[[Path], Trainer], tmp_path: Path) -> None:
    make(tmp_path).run()
    draw(tmp_path / LOG, tmp_path / "run.svg")
    assert "svg" in ElementTree.parse(tmp_path / "run.svg").getroot().tag
    assert smoothed([1.0, 3.0]) == [1.0, 2.0]
    assert smoothed([0.0] * AVERAGE_STEPS + [25.0])[-1] == 1.0
    (tmp_path / LOG).write_text("")
    with pytest.raises(ValueError, match="no step yet"):
        draw(tmp_path / LOG, tmp_path / "none.svg")


def test_a_damaged_state_is_refused_and_kept(make: Callable[[Path], Trainer], tmp_path: Path) -> None:
    (tmp_path / STATE).write_bytes(b"no state")
    with pytest.raises(ValueError, match="cannot be resumed"):
        make(tmp_path)
    assert (tmp_path / STATE).read_bytes() == b"no state"


def test_a_damaged_log_is_refused_and_kept(make: Callable[[Path], Trainer], tmp_path: Path) -> None:
    make(tmp_path).run()
    (tmp_path / LOG).write_bytes(b"\xff\xfe no log\n")
    with pytest.raises(ValueError, match="is no log of training"):
        make(tmp_path)
    assert (tmp_path / LOG).read_bytes() == b"\xff\xfe no log\n"


def test_hard_sentences_are_those_that_open_the_gate(tokenizer: TextTokenizer) -> None:
    """Pairs that share their worst words score the same but for rounding, and may stand in either order."""
    model = random_delta(tiny_config()).double()
    rounding = 1e-9
    everything = hard_sentences(model, tokenizer, BOOKS, 10_000, score=-1e9)
    assert sorted(everything) == sorted(BOOKS.pairs())
    scores = [float(model.write_scores(torch.tensor([tokenizer.encode(" " + text)])).max()) for text in everything]
    assert all(before >= after - rounding for before, after in pairwise(scores))
    # A bound in the widest gap of the middle half, so that no score lies on it.
    some = range(len(scores) // 4, 3 * len(scores) // 4)
    last = max(some, key=lambda index: scores[index] - scores[index + 1])
    assert scores[last] - scores[last + 1] > 4 * rounding
    bound = (scores[last] + scores[last + 1]) / 2
    assert hard_sentences(model, tokenizer, BOOKS, 10_000, bound) == everything[: last + 1]
    assert hard_sentences(model, tokenizer, BOOKS, 2, -1e9) == everything[:2]


def test_muon_treats_each_part_of_a_fused_matrix_as_a_matrix() -> None:
    whole, gradient = nn.Parameter(torch.randn(7, 4)), torch.randn(7, 4)
    apart = [nn.Parameter(part.clone()) for part in torch.split(whole.detach(), [5, 2])]
    for part, own in zip(apart, torch.split(gradient, [5, 2]), strict=True):
        part.grad = own.clone()
    whole.grad = gradient
    torch.optim.Muon(apart, weight_decay=0.01, adjust_lr_fn="match_rms_adamw").step()  # type: ignore[no-untyped-call]
    MuonByPart([(whole, [5, 2])]).step()
    torch.testing.assert_close(whole.detach(), torch.cat([part.detach() for part in apart]))
