"""`python -m model.evaluation`: recall of facts hidden in novels, by weights or by a running server.

It knows the command line and the table; the examination is in `novels`.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from tqdm import tqdm

from model import weights
from model.evaluation.novels import BYTES_PER_TOKEN, examine, exams, wilson_interval
from model.evaluation.readers import http_reader, local_reader
from model.tasks.haystack import Books


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.evaluation", description=__doc__)
    parser.add_argument("--books", type=Path, required=True, help="plain text that was not trained on")
    parser.add_argument("--weights", type=Path, default=Path("model/default"))
    parser.add_argument("--url", help="ask a running server instead of reading here")
    parser.add_argument("--lengths", type=int, nargs="+", default=[100_000], help="GPT-2 tokens of 4.27 bytes")
    parser.add_argument("--exams", type=int, default=10, help="texts of each length")
    parser.add_argument("--facts", type=int, default=10, help="moves hidden in each text")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON of every answer")
    arguments = parser.parse_args()
    books = Books.read(arguments.books)
    results = []
    for length in arguments.lengths:
        began = time.monotonic()
        given = exams(books, arguments.exams, length, arguments.facts, arguments.seed)
        total = arguments.exams * length
        with tqdm(total=total, unit="tok", unit_scale=True, desc=f"{length:,} tokens") as bar:
            if arguments.url:
                reader = http_reader(arguments.url)
            else:
                reader = local_reader(weights.load(arguments.weights), bar.update)
            marks = list(examine(reader, given))
        right = sum(mark.right for mark in marks)
        low, high = wilson_interval(right, len(marks))
        seconds = time.monotonic() - began
        print(
            f"{length:>12,} tokens ({length * BYTES_PER_TOKEN / 1e6:.2f} MB): {right} of {len(marks)} right, "
            f"{right / len(marks):.1%} ({low:.1%} to {high:.1%}), {seconds:.0f} s"
        )
        for mark in marks:
            if not mark.right:
                print(f"    text {mark.exam}: {mark.question.text} {mark.question.answer}, not {mark.answer!r}")
        results.append(
            {
                "length_tokens": length,
                "facts": arguments.facts,
                "right": right,
                "asked": len(marks),
                "interval": [low, high],
                "answers": [
                    {"exam": m.exam, "question": m.question.text, "target": m.question.answer, "answer": m.answer}
                    for m in marks
                ],
            }
        )
    if arguments.out:
        arguments.out.write_text(json.dumps({"seed": arguments.seed, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
