"""`python -m model.evaluation`: recall of facts hidden in books, by weights or by a server.

`python -m model.evaluation finding`, `needles`, `forgetting` and `answers` examine the general memory; each has its
`--help`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tqdm import tqdm

from model import weights
from model.evaluation import report
from model.evaluation.answers import command as answers
from model.evaluation.exams import Exam, associative_exams, babilong_exams
from model.evaluation.finding import command as finding
from model.evaluation.forgetting import command as forgetting
from model.evaluation.lines import write_summary
from model.evaluation.marks import Mark, examine, examine_all, read_marks, unmarked
from model.evaluation.needles import command as needles
from model.evaluation.readers import Reader, http_reader, local_reader
from model.tasks.babilong import BYTES_PER_TOKEN
from model.tasks.haystack import Books

COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "finding": finding.main,
    "needles": needles.main,
    "forgetting": forgetting.main,
    "answers": answers.main,
}


def main() -> None:
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        COMMANDS[sys.argv[1]](sys.argv[2:])
    else:
        recall(sys.argv[1:])


def recall(given: Sequence[str]) -> None:
    """BABILong and associative retrieval."""
    arguments = _parser().parse_args(given)
    torch.set_num_threads(arguments.threads)
    exams = list(_exams(arguments))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    left = unmarked(exams, arguments.out)
    total, to_read = _bytes(exams), _bytes(left)
    with tqdm(total=total, initial=total - to_read, unit="B", unit_scale=True) as bar:
        reader: Reader
        if arguments.url:
            reader = http_reader(arguments.url, bar.update)
        else:
            reader = local_reader(weights.load(arguments.weights), bar.update)
        right = asked = 0
        for marks in _examined(left, reader, arguments):
            right, asked = right + sum(mark.exact for mark in marks), asked + len(marks)
            bar.set_postfix_str(f"{marks[0].name} at {report.length_name(marks[0].length)}: {right} of {asked} right")
    found = report.cells(read_marks(arguments.out))
    print(report.table(found))
    write_summary(arguments.summary, report.as_json(found))
    if arguments.picture:
        report.picture(found, arguments.picture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation", description=__doc__)
    parser.add_argument("--books", type=Path, required=True, help="plain text that was not trained on")
    parser.add_argument("--babi", type=Path, required=True, help="folder of bAbI 1.2 with its test files")
    parser.add_argument("--out", type=Path, required=True, help="marks, a line an answer; what it has is not redone")
    parser.add_argument("--weights", type=Path, default=Path("model/babilong"))
    parser.add_argument("--url", help="ask a running server instead of reading here")
    parser.add_argument("--sessions", type=int, default=4, help="texts at once when asking a server")
    parser.add_argument("--tasks", type=int, nargs="*", default=[1, 2, 3, 4, 5], help="bAbI's tasks, 1 to 10")
    parser.add_argument("--lengths", type=int, nargs="+", default=[0, 1000, 128_000], help="GPT-2 tokens, 4.27 bytes")
    parser.add_argument("--samples", type=int, default=100, help="questions for each task and length")
    parser.add_argument("--pairs", type=int, nargs="*", default=[], help="associative retrieval of so many pairs")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="JSON of the table")
    parser.add_argument("--picture", type=Path, help="recall against length, .svg or .png")
    return parser


def _exams(arguments: argparse.Namespace) -> Iterator[Exam]:
    books = Books.read(arguments.books)
    for length in arguments.lengths:
        for task in arguments.tasks:
            yield from babilong_exams(task, length, arguments.samples, arguments.babi, books, arguments.seed)
    for pairs in arguments.pairs:
        yield from associative_exams("remember", pairs, max(1, arguments.samples // pairs), arguments.seed)
        yield from associative_exams("rewrite", pairs, max(1, arguments.samples // pairs), arguments.seed)


def _examined(exams: list[Exam], reader: Reader, arguments: argparse.Namespace) -> Iterator[list[Mark]]:
    """A server gets several texts at once; the marks keep the order of the exams."""
    if not arguments.url:
        yield from examine_all(exams, lambda exam: examine(reader, exam), arguments.out)
        return
    with ThreadPoolExecutor(arguments.sessions) as pool:
        waiting = {id(exam): pool.submit(examine, reader, exam) for exam in exams}
        yield from examine_all(exams, lambda exam: waiting.pop(id(exam)).result(), arguments.out)


def _bytes(exams: list[Exam]) -> int:
    return sum(int(exam.length * BYTES_PER_TOKEN) for exam in exams)


if __name__ == "__main__":
    main()
