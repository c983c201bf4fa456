"""`python -m model.tasks.babi FOLDER`: the rules of `world`, asked every question of bAbI's own files."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.tasks.babi.files import read_examples, task_file
from model.tasks.babi.world import Unanswerable, World


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.tasks.babi", description=__doc__)
    parser.add_argument("folder", type=Path, help="a folder of bAbI 1.2, such as en")
    parser.add_argument("--part", choices=("train", "test"), default="test")
    parser.add_argument("--tasks", type=int, nargs="+", default=list(range(1, 11)))
    arguments = parser.parse_args()
    for task in arguments.tasks:
        right, asked = agreement(task_file(arguments.folder, task, arguments.part))
        print(f"task {task}: {right} of {asked}")


def agreement(path: Path) -> tuple[int, int]:
    """How many answers of a file are the rules' too, and how many questions it has."""
    right = asked = 0
    for example in read_examples(path):
        world = World()
        for fact in example.facts:
            world.hear(fact)
        asked += 1
        try:
            right += world.answer(example.question) == example.answer
        except Unanswerable:
            continue
    return right, asked


if __name__ == "__main__":
    main()
