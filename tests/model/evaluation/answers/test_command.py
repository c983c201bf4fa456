"""The loss report: where an answer was lost, and the command with a model here and with a server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model import weights
from model.evaluation.__main__ import COMMANDS
from model.evaluation.answers.asking import ReadText, Reply, read_here
from model.evaluation.answers.report import Answered, answered, as_json, fate_of, table
from model.evaluation.corpora import Question, read_squad
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, random_model
from testing.serving import Server
from tests.model.evaluation.making import write_squad

QUESTION = Question("Who?", ("Ottoline Brack",), ((100, 114),))


@pytest.mark.parametrize(
    ("answer", "read", "kept", "fate"),
    [
        ("Ottoline Brack keeps it.", [], [], "right"),
        ("Nobody", [(90, 120)], [(0, 120)], "misread"),
        ("Nobody", [(100, 110)], [(0, 120)], "not found"),
        ("Nobody", [(0, 90)], [(0, 90)], "forgotten"),
        ("Nobody", [(0, 90)], None, "not found"),
    ],
)
def test_a_wrong_answer_was_forgotten_not_found_or_misread(
    answer: str, read: list[tuple[int, int]], kept: list[tuple[int, int]] | None, fate: str
) -> None:
    reply = Reply(answer, read, None)
    text = ReadText(lambda question: reply, kept)
    assert fate_of(reply, QUESTION, text) == answered("made", 0, QUESTION, text).fate == fate


def test_the_table_counts_fates() -> None:
    def result(number: int, fate: str, f1: float) -> Answered:
        return Answered("made", number, "?", ["x"], "x", fate == "right", f1, None, fate)  # type: ignore[arg-type]

    results = [result(0, "right", 1.0), result(1, "misread", 0.5), result(2, "misread", 0.0)]
    assert table(results).splitlines()[2] == "| made | 3 | 1 | 50.0 | 1 (6 to 79 %) | 0 | 0 | 2 |"
    assert as_json(results)[0]["misread"] == 2


@pytest.fixture
def folder(tmp_path: Path, tokenizer: TextTokenizer) -> Path:
    config = replace(EPISODIC, segment_tokens=32, recall_tokens=128, window_tokens=400, capacity_tokens=1 << 20)
    weights.save(tmp_path / "weights", random_model(config), tokenizer, torch.float32)
    return tmp_path / "weights"


def test_a_memory_that_is_full_says_what_it_has_forgotten(folder: Path, tmp_path: Path) -> None:
    loaded = weights.load(folder)
    corpus = read_squad(write_squad(tmp_path / "squad.json"))
    whole = len(corpus.text.encode())
    for capacity, all_there in ((1 << 20, True), (320, False)):
        loaded.model.config = replace(loaded.model.config, capacity_tokens=capacity)
        with read_here(loaded, corpus.text, 4) as text:
            assert text.kept is not None
            assert (sum(end - start for start, end in text.kept) == whole) == all_there
            assert text.kept[-1][1] == whole


def test_the_command_reports_and_resumes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, summary = tmp_path / "answers.jsonl", tmp_path / "answers.json"
    squad = ["--squad", str(write_squad(tmp_path / "squad.json")), "--max-tokens", "3"]
    arguments = [*squad, "--weights", str(folder), "--out", str(out), "--summary", str(summary)]
    COMMANDS["answers"](arguments)
    whole = out.read_text()
    assert json.loads(summary.read_text())[0]["asked"] == 3
    assert "| squad | 3 |" in capsys.readouterr().out
    out.write_text("".join(whole.splitlines(keepends=True)[:2]))
    COMMANDS["answers"](arguments)
    assert out.read_text() == whole


def test_a_server_gives_the_same_answers(folder: Path, tmp_path: Path) -> None:
    squad = ["--squad", str(write_squad(tmp_path / "squad.json")), "--max-tokens", "3"]
    here, there = tmp_path / "here.jsonl", tmp_path / "there.jsonl"
    COMMANDS["answers"]([*squad, "--weights", str(folder), "--out", str(here)])
    with Server(folder, "memory://", precision="float32") as server:
        COMMANDS["answers"]([*squad, "--url", server.url, "--out", str(there)])
    texts = [[json.loads(line)["answer"] for line in path.read_text().splitlines()] for path in (here, there)]
    assert texts[0] == texts[1]
