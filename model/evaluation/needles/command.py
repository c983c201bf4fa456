"""`python -m model.evaluation needles`: whether needles in books are found, up to 10,000,000 tokens.

RULER's single, multi-key, multi-value and multi-query needles (2404.06654), the question after the text. A question is
right if all the needles that its answer needs are in what is read again.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import torch
from tqdm import tqdm

from model import weights
from model.evaluation.corpora import read_text
from model.evaluation.episodes import EpisodicText
from model.evaluation.finding.finders import OURS, Find, baselines, mechanism
from model.evaluation.finding.ranks import covered
from model.evaluation.lines import append_lines, read_lines, write_summary
from model.evaluation.needles import report
from model.evaluation.needles.report import Needle
from model.evaluation.report import length_name
from model.tasks.babilong import BYTES_PER_TOKEN
from model.tasks.needles import Asked, hidden
from model.weights import LoadedModel

# A text has a question of each kind for so many tokens, and 25 at most.
_TOKENS_FOR_EACH = 8_000
_ROUNDS_MAX = 25


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    loaded = weights.load(given.weights)
    books = read_text(given.books)
    done = {(needle.length, needle.text, needle.row) for needle in read_lines(given.out, Needle)}
    for length in given.lengths:
        rounds = rounds_in(length, given.samples)
        for number in tqdm(range(-(-given.samples // rounds)), desc=length_name(length)):
            if not {(length, number, row) for row in given.rows} <= done:
                _examine(books, length, number, rounds, loaded, given, done)
    found = report.cells(read_lines(given.out, Needle))
    print(report.table(found))
    write_summary(given.summary, report.as_json(found))
    if given.picture:
        report.picture(found, given.picture)


def rounds_in(length: int, samples: int) -> int:
    """How many questions of each kind one text of a length has."""
    return min(samples, _ROUNDS_MAX, max(1, length // _TOKENS_FOR_EACH))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation needles", description=__doc__)
    parser.add_argument("--books", type=Path, required=True, help="plain text, .txt or .txt.xz")
    parser.add_argument("--out", type=Path, required=True, help="results, a line a question; what it has is not redone")
    parser.add_argument("--weights", type=Path, default=Path("model/smollm2"))
    parser.add_argument("--lengths", type=int, nargs="+", default=[4_000, 32_000, 128_000, 1_000_000, 10_000_000])
    parser.add_argument("--samples", type=int, default=100, help="questions of each kind and length")
    parser.add_argument("--rows", nargs="+", choices=("BM25", "BM25 +n", OURS), default=["BM25", OURS])
    parser.add_argument("--recall-tokens", type=int, default=1024, help="tokens that are read again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="JSON of the table")
    parser.add_argument("--picture", type=Path, help="shares against length, .svg or .png")
    return parser


def _examine(
    books: str,
    length: int,
    number: int,
    rounds: int,
    loaded: LoadedModel,
    given: argparse.Namespace,
    done: set[tuple[int, int, str]],
) -> None:
    """Appends the results of one text for the rows that do not have it yet."""
    made = hidden(Random(f"{given.seed} {length} {number}"), books, int(length * BYTES_PER_TOKEN), rounds)
    text = EpisodicText.tokenized(loaded.tokenizer, made.pieces, loaded.model.config.segment_tokens)
    for row, find in _rows(text, loaded, given.rows):
        if (length, number, row) not in done:
            results = [
                Needle(row, length, number, asked.kind, asked.question, all_found(find, asked, given.recall_tokens))
                for asked in made.questions
            ]
            append_lines(given.out, results)


def _rows(text: EpisodicText, loaded: LoadedModel, names: Sequence[str]) -> Iterator[tuple[str, Find]]:
    if set(names) != {OURS}:
        yield from (
            (row, find) for row, find in baselines(text, loaded.model.config.segment_tokens, False) if row in names
        )
    if OURS in names:
        yield OURS, mechanism(loaded, text)


def all_found(find: Find, asked: Asked, tokens: int) -> bool:
    """Whether all needles of a question are in the tokens that are read again."""
    ranges = find(asked.question, tokens)
    return all(covered(ranges, place) for place in asked.places)
