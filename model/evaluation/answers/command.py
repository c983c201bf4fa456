"""`python -m model.evaluation answers`: questions about real text, and where each wrong answer was lost.

The questions of SQuAD and FairytaleQA, each set about its whole text; a model in this process or a running server. An
answer that does not have an accepted one in its words was forgotten (the memory no longer has its place), not found (it
was not read again) or misread. A server does not say what it has forgotten: there it counts as not found.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from model import weights
from model.evaluation.answers import report
from model.evaluation.answers.asking import read_by_server, read_here
from model.evaluation.answers.report import Answered, answered
from model.evaluation.finding.command import add_corpora, corpora
from model.evaluation.lines import append_lines, read_lines, write_summary


def main(arguments: Sequence[str]) -> None:
    given = _parser().parse_args(arguments)
    torch.set_num_threads(given.threads)
    loaded = None if given.url else weights.load(given.weights)
    done = {(result.corpus, result.number) for result in read_lines(given.out, Answered)}
    for corpus in (whole.sampled(given.samples, given.seed) for whole in corpora(given)):
        left = [(n, asked) for n, asked in enumerate(corpus.questions) if (corpus.name, n) not in done]
        if not left:
            continue
        reading = (
            read_by_server(given.url, corpus.text, given.max_tokens)
            if loaded is None
            else read_here(loaded, corpus.text, given.max_tokens)
        )
        with reading as text:
            for number, question in tqdm(left, desc=corpus.name):
                append_lines(given.out, [answered(corpus.name, number, question, text)])
    results = read_lines(given.out, Answered)
    print(report.table(results))
    write_summary(given.summary, report.as_json(results))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation answers", description=__doc__)
    add_corpora(parser, samples=40)
    parser.add_argument("--out", type=Path, required=True, help="answers, a line each; what it has is not asked again")
    parser.add_argument("--weights", type=Path, default=Path("model/smollm2"))
    parser.add_argument("--url", help="ask a running server instead of reading here")
    parser.add_argument("--max-tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--summary", type=Path, help="JSON of the table")
    return parser
