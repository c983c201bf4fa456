"""The examination of needles, as a command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import weights
from model.evaluation.__main__ import COMMANDS
from model.evaluation.needles.command import all_found, rounds_in
from model.tasks.needles import Asked
from testing.models import EPISODIC, prose, random_model
from tests.model.mechanisms.episodic.texts import TOKENIZER


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    config = replace(EPISODIC, segment_tokens=64, recall_tokens=512, window_tokens=2400, capacity_tokens=1 << 20)
    weights.save(tmp_path / "weights", random_model(config), TOKENIZER, torch.float32)
    (tmp_path / "books.txt").write_text(prose(9, 40_000))
    files = ["--books", str(tmp_path / "books.txt"), "--weights", str(tmp_path / "weights")]
    return [*files, "--lengths", "600", "1200", "--samples", "2", "--out", str(tmp_path / "needles.jsonl")]


def test_the_table_has_each_kind_length_and_row(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary, picture = tmp_path / "needles.json", tmp_path / "needles.svg"
    COMMANDS["needles"]([*given, "--recall-tokens", "2048", "--summary", str(summary), "--picture", str(picture)])
    cells = json.loads(summary.read_text())
    assert {(cell["row"], cell["tokens"], cell["asked"]) for cell in cells} == {
        (row, length, 2) for row in ("BM25", "ours") for length in (600, 1200)
    }
    assert {cell["kind"] for cell in cells} == {"single", "multi-key", "multi-value", "multi-query"}
    # In random prose, which has hardly a sentence's end, a passage near four needles may leave no room for all.
    one = [cell for cell in cells if cell["tokens"] == 600 and cell["kind"] in ("single", "multi-key")]
    assert all(cell["found"] == 2 for cell in one)
    assert "| ours, single | 100.0 of 2 |" in capsys.readouterr().out
    assert picture.exists()


def test_an_interrupted_examination_resumes(given: list[str], tmp_path: Path) -> None:
    out = tmp_path / "needles.jsonl"
    COMMANDS["needles"](given)
    whole = out.read_text().splitlines()
    out.write_text("\n".join(whole[:8]) + "\n")
    COMMANDS["needles"](given)
    assert sorted(out.read_text().splitlines()) == sorted(whole)


def test_a_question_is_right_only_if_all_its_needles_are_read() -> None:
    asked = Asked("multi-value", "?", ("1", "2"), ((0, 5), (20, 25)))
    assert all_found(lambda question, tokens: [(0, 9), (20, 30)], asked, 64)
    assert not all_found(lambda question, tokens: [(0, 9), (20, 24)], asked, 64)


def test_long_texts_have_more_questions() -> None:
    assert [rounds_in(length, 100) for length in (4_000, 32_000, 128_000, 10_000_000)] == [1, 4, 16, 25]
    assert rounds_in(10_000_000, 3) == 3
