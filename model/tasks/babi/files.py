"""bAbI's own files: their questions, each with all facts of its story before it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Example:
    """The facts of a story up to a question, the question and its answer."""

    facts: tuple[str, ...]
    question: str
    answer: str


def read_examples(path: Path) -> Iterator[Example]:
    """Every question of a file of lines "number sentence" or "number question TAB answer TAB supporting numbers"."""
    facts: list[str] = []
    for count, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        number, _, rest = line.partition(" ")
        if not number.isdigit() or not rest:
            raise ValueError(f"{path} line {count} is not bAbI's: expected a number and a sentence, got {line[:60]!r}")
        if number == "1":
            facts = []
        sentence, *answer = rest.split("\t")
        if answer:
            yield Example(tuple(facts), sentence.strip(), answer[0])
        else:
            facts.append(sentence.strip())


def task_file(folder: Path, task: int, part: str) -> Path:
    """The file of a task's `part`, "train" or "test"."""
    found = sorted(folder.glob(f"qa{task}_*_{part}.txt"))
    if not found:
        raise FileNotFoundError(f"no qa{task}_*_{part}.txt in {folder}; give a folder of bAbI 1.2, such as en-10k")
    return found[0]
