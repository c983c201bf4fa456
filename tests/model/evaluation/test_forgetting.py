"""The examination of forgetting: its texts, its rules and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import strategies as st

from model import weights
from model.evaluation.__main__ import COMMANDS
from model.evaluation.corpora import Corpus, read_squad
from model.evaluation.forgetting.rules import RULES, remembered
from model.evaluation.forgetting.texts import among_novels, twice
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, prose, random_model
from tests.model.evaluation.making import FACTS, write_squad
from tests.model.mechanisms.episodic.texts import episodic, episodic_model, read


def test_a_place_moves_with_its_article(tmp_path: Path) -> None:
    squad = read_squad(write_squad(tmp_path / "squad.json"))
    for corpus, places in ((among_novels(squad, prose(8, 9_000)), 1), (twice(squad), 2)):
        data = corpus.text.encode()
        assert len(data) > 1.9 * len(squad.text.encode())
        assert [len(question.places) for question in corpus.questions] == [places] * len(FACTS)
        for question in corpus.questions:
            assert {data[start:end].decode() for start, end in question.places} == set(question.answers)


@pytest.mark.parametrize("rule", RULES)
@drawn(st.integers(0, 50), st.integers(2, 20))
def test_a_rule_never_keeps_more_than_the_bound_and_always_the_newest(rule: str, seed: int, limit: int) -> None:
    [whole] = episodic(read(episodic_model(capacity_tokens=1 << 20), prose(seed, 700).encode())).rows
    left = remembered(whole, RULES[rule], limit)
    offsets = [left.offset_of(n) for n in range(len(left))]
    assert offsets == sorted(set(offsets))
    assert min(limit * 15 // 16, len(whole)) <= len(left) <= limit
    assert offsets[-1] == whole.offset_of(len(whole) - 1)


def test_oldest_first_leaves_the_end_of_the_text() -> None:
    [whole] = episodic(read(episodic_model(capacity_tokens=1 << 20), prose(1, 900).encode())).rows
    left = remembered(whole, RULES["oldest first"], 9)
    newest = [whole.offset_of(n) for n in range(len(whole) - len(left), len(whole))]
    assert [left.offset_of(n) for n in range(len(left))] == newest


def test_the_command_compares_the_rules(
    tmp_path: Path, tokenizer: TextTokenizer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(EPISODIC, segment_tokens=32, recall_tokens=256, window_tokens=1200)
    weights.save(tmp_path / "weights", random_model(config), tokenizer, torch.float32)
    (tmp_path / "books.txt").write_text(prose(9, 20_000))
    summary, picture = tmp_path / "forgetting.json", tmp_path / "forgetting.svg"
    arguments = [
        "--squad", str(write_squad(tmp_path / "squad.json")), "--books", str(tmp_path / "books.txt"),
        "--weights", str(tmp_path / "weights"), "--out", str(tmp_path / "forgotten.jsonl"),
        "--summary", str(summary), "--picture", str(picture),
    ]  # fmt: skip
    COMMANDS["forgetting"](arguments)
    cells = json.loads(summary.read_text())
    assert len(cells) == 3 * 4 * len(RULES)
    assert all(cell["kept"] == 3 for cell in cells if cell["times_the_bound"] == 1)
    assert all(cell["read"] <= cell["kept"] for cell in cells)
    assert "| repeated, then commonest words (ours) |" in capsys.readouterr().out
    assert picture.exists()
    before = (tmp_path / "forgotten.jsonl").read_text()
    COMMANDS["forgetting"](arguments)
    assert (tmp_path / "forgotten.jsonl").read_text() == before


def test_weights_without_episodes_are_refused(tmp_path: Path, tiny_weights: Path) -> None:
    squad = write_squad(tmp_path / "squad.json")
    with pytest.raises(SystemExit, match="only the mechanism episodic has a bound of episodes"):
        COMMANDS["forgetting"](["--squad", str(squad), "--weights", str(tiny_weights), "--out", str(tmp_path / "out")])


def test_novels_that_are_shorter_than_the_articles_come_again(tmp_path: Path) -> None:
    squad = Corpus("made", "one\ntwo\nthree\n", (), (0, 4, 8))
    assert among_novels(squad, "é no").text.count("é") >= 2
