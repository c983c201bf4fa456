"""`python -m model.evaluation forgetting`: what is still found in a text that is longer than the memory's bound.

SQuAD's articles as one text; with novels between them; and each of them twice. The bound is the whole text, a half, a
quarter and an eighth of it; rules of forgetting are compared. What is kept is searched by BM25 with neighbours.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy
import torch
from tqdm import tqdm

from model import weights
from model.evaluation.corpora import Corpus, read_squad, read_text
from model.evaluation.episodes import EpisodicText
from model.evaluation.finding.bm25 import Bm25, stems, with_neighbours
from model.evaluation.finding.finders import Range, memory_of
from model.evaluation.finding.ranks import covered
from model.evaluation.forgetting import report
from model.evaluation.forgetting.report import Remembered
from model.evaluation.forgetting.rules import RULES, remembered
from model.evaluation.forgetting.texts import among_novels, twice
from model.evaluation.lines import append_lines, read_lines, write_summary
from model.mechanisms.episodic.memory import Episodes, EpisodicMemory
from model.mechanisms.episodic.transformer import EpisodicTransformer
from model.weights import LoadedModel


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    loaded = weights.load(given.weights)
    if not isinstance(loaded.model, EpisodicTransformer):
        sys.exit(
            f"only the mechanism episodic has a bound of episodes; {given.weights} has {loaded.model.config.mechanism}"
        )
    squad = read_squad(given.squad)
    for corpus in (squad, *([among_novels(squad, read_text(given.books))] if given.books else []), twice(squad)):
        _examine(corpus.sampled(given.samples, given.seed), loaded, loaded.model, given)
    found = report.cells(read_lines(given.out, Remembered))
    print(report.table(found))
    write_summary(given.summary, report.as_json(found))
    if given.picture:
        report.picture(found, given.picture)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation forgetting", description=__doc__)
    parser.add_argument("--squad", type=Path, required=True, help="a file of SQuAD 1.1 or 2.0, .json or .json.xz")
    parser.add_argument("--books", type=Path, help="plain text to stand between the articles, .txt or .txt.xz")
    parser.add_argument("--out", type=Path, required=True, help="results, a line a question; what it has is not redone")
    parser.add_argument("--weights", type=Path, default=Path("model/smollm2"))
    parser.add_argument("--times", type=int, nargs="+", default=[1, 2, 4, 8], help="the text's length in bounds")
    parser.add_argument("--samples", type=int, default=500, help="questions of each text at most")
    parser.add_argument("--recall-tokens", type=int, default=1024, help="tokens that are read again")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="JSON of the table")
    parser.add_argument("--picture", type=Path, help="recall against length, .svg or .png")
    return parser


def _examine(corpus: Corpus, loaded: LoadedModel, model: EpisodicTransformer, given: argparse.Namespace) -> None:
    """Appends the results of one text for the bounds and rules that the file does not have yet."""
    size = model.config.segment_tokens
    text = EpisodicText.tokenized(loaded.tokenizer, corpus.text, size)
    model.config = replace(model.config, capacity_tokens=2 * len(text.ids))
    memory = memory_of(loaded, text)
    assert isinstance(memory, EpisodicMemory)
    [episodes] = memory.rows
    done = {(r.corpus, r.tokens, r.times, r.rule) for r in read_lines(given.out, Remembered)}
    for times in given.times:
        for rule in tqdm(RULES, desc=f"{corpus.name}, {times}"):
            if (key := (corpus.name, len(text.ids), times, rule)) not in done:
                left = remembered(episodes, RULES[rule], len(episodes) // times)
                kept = [(left.offset_of(n), _end(model, left, n)) for n in range(len(left))]
                append_lines(given.out, _asked(key, corpus, kept, given.recall_tokens // size))


def _asked(key: tuple[str, int, int, str], corpus: Corpus, kept: Sequence[Range], episodes: int) -> list[Remembered]:
    """The questions about a text of which only some ranges are kept; BM25 with neighbours finds what is read again."""
    data = corpus.text.encode()
    index = Bm25([stems(data[start:end].decode(errors="ignore")) for start, end in kept])
    results = []
    for number, question in enumerate(corpus.questions):
        scores = with_neighbours(index.scores(stems(question.text)))
        read = [kept[n] for n in numpy.argsort(-scores, kind="stable")[:episodes].tolist()]
        first = min(start for start, _ in question.places) / len(data)
        still, again = (any(covered(ranges, place) for place in question.places) for ranges in (kept, read))
        results.append(Remembered(*key, number, question.text, round(first, 4), still, again))
    return results


def _end(model: EpisodicTransformer, episodes: Episodes, number: int) -> int:
    return episodes.offset_of(number) + model.vocabulary.size(episodes.tokens_of(number).tolist())
