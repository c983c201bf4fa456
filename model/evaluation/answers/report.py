"""The loss report: how many answers are right, and how many texts were forgotten, not found or misread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from model.evaluation.answers.asking import ReadText, Reply
from model.evaluation.answers.scoring import contains, exact, f1
from model.evaluation.corpora import Question
from model.evaluation.finding.ranks import covered
from model.evaluation.scoring import wilson_interval

# As the audit of eviction in 2609.08279 splits errors.
Fate = Literal["right", "forgotten", "not found", "misread"]
FATES: tuple[Fate, ...] = ("right", "forgotten", "not found", "misread")


@dataclass(frozen=True)
class Answered:
    """One answer with its measures. It is right if an accepted answer is in its words."""

    corpus: str
    number: int
    question: str
    accepted: list[str]
    answer: str
    exact: bool
    f1: float
    found: bool | None
    fate: Fate


def answered(corpus: str, number: int, question: Question, text: ReadText) -> Answered:
    """Asks one question."""
    reply = text.ask(question.text)
    fate = fate_of(reply, question, text)
    right, score = exact(reply.answer, question.answers), round(f1(reply.answer, question.answers), 4)
    return Answered(
        corpus, number, question.text, list(question.answers), reply.answer, right, score, reply.found, fate
    )


def fate_of(reply: Reply, question: Question, text: ReadText) -> Fate:
    """Where a wrong answer was lost: in the memory, in the search, or in the reading."""
    if contains(reply.answer, question.answers):
        return "right"
    if text.kept is not None and not any(covered(text.kept, place) for place in question.places):
        return "forgotten"
    if not any(covered(reply.read, place) for place in question.places):
        return "not found"
    return "misread"


def table(results: Sequence[Answered]) -> str:
    """Markdown, a row a text: percentages, with the 95 % interval of the right ones."""
    lines = ["| | asked | exact match | F1 | " + " | ".join(FATES) + " |", "| --- |" + " --- |" * (3 + len(FATES))]
    for row in as_json(results):
        low, high = row["interval"]  # type: ignore[misc]
        fates = [f"{row[fate]}" for fate in FATES]
        fates[0] += f" ({100 * low:.0f} to {100 * high:.0f} %)"  # type: ignore[has-type]
        lines.append(f"| {row['text']} | {row['asked']} | {row['exact']} | {row['f1']} | " + " | ".join(fates) + " |")
    return "\n".join(lines)


def as_json(results: Iterable[Answered]) -> list[dict[str, object]]:
    grouped: dict[str, list[Answered]] = {}
    for result in results:
        grouped.setdefault(result.corpus, []).append(result)
    rows: list[dict[str, object]] = []
    for corpus, own in grouped.items():
        fates = Counter(result.fate for result in own)
        row: dict[str, object] = {"text": corpus, "asked": len(own), "exact": sum(result.exact for result in own)}
        row["f1"] = round(100 * sum(result.f1 for result in own) / len(own), 1)
        row |= {fate: fates[fate] for fate in FATES}
        row["interval"] = tuple(round(bound, 4) for bound in wilson_interval(fates["right"], len(own)))
        rows.append(row)
    return rows
