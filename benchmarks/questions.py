"""A question over HTTP to a pretrained model with the general memory, after texts of very different lengths."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random
from statistics import mean
from typing import Any

from tqdm import tqdm

from benchmarks.client import Client, served
from benchmarks.plan import Plan
from benchmarks.report import Figure, Goal, Section
from benchmarks.text import prose_of_bytes
from benchmarks.timing import percentile
from model import weights

NAME = "questions"
CLAIM = "a question with an answer of 10 tokens takes as long after 10,000,000 tokens as after 10,000"
MEDIAN, WORST, SAME = Goal("at most", 1.5), Goal("at most", 3.0), Goal("at most", 1.1)
READING = Goal("at least", 200_000)
ANSWER_TOKENS = 10
WARM_UP = 2
# Text between two of the places that are asked for.
PIECE_BYTES = 8000
FACT = " The keeper of lighthouse {number} is called {name}.\n"
QUESTION = "Who is the keeper of lighthouse {number}?"
SYLLABLES = "ba ke lo mi nu ra so ti vu za".split()


def measure(plan: Plan) -> Section:
    tokenizer = weights.load(plan.pretrained).tokenizer
    lengths, asked = plan.sizes.question_tokens, plan.sizes.long_questions
    piece_tokens = len(tokenizer.encode(_piece(0)))
    figures, taken = list[Figure](), dict[int, list[float]]()
    answers = list[dict[str, Any]]()
    with served(replace(plan, weights=plan.pretrained)) as (server, client):
        client.await_ready()
        for tokens in lengths:
            figures += _read(client, tokens, -(-tokens // piece_tokens))
            taken[tokens] = []
        random = Random(7)
        for number in tqdm(range(-WARM_UP, asked), desc="questions"):
            # All lengths in turn, so that drift is shared.
            for tokens in lengths:
                question = QUESTION.format(number=random.randrange(tokens // piece_tokens))
                began = time.perf_counter()
                answer = client.ask(_session(tokens), question, ANSWER_TOKENS)
                if number >= 0:
                    taken[tokens].append(time.perf_counter() - began)
                    answers.append(answer)
        print(*(line for line in server.log if "weights: " in line), sep="\n")
    unknown = [answer for answer in answers if answer["found"] is False]
    figures += [
        Figure("questions_count", asked),
        Figure("not_found_share", len(unknown) / len(answers)),
        Figure("prompt_mean_tokens", mean(answer["usage"]["prompt_tokens"] for answer in answers)),
        Figure("answer_mean_tokens", mean(answer["usage"]["completion_tokens"] for answer in answers)),
    ]
    for tokens in lengths:
        figures += [
            Figure(f"after_{tokens}_tokens_p50_seconds", percentile(taken[tokens], 50), MEDIAN),
            Figure(f"after_{tokens}_tokens_p99_seconds", percentile(taken[tokens], 99), WORST),
        ]
    ratio = percentile(taken[lengths[-1]], 50) / percentile(taken[lengths[0]], 50)
    figures.append(Figure("longest_to_shortest_p50_ratio", ratio, SAME))
    return Section(NAME, CLAIM, tuple(figures))


def _read(client: Client, tokens: int, pieces: int) -> list[Figure]:
    text = "".join(_piece(number) for number in range(pieces))
    began = time.perf_counter()
    client.read_whole(_session(tokens), text, f"server reads {tokens:,} tokens")
    seconds = time.perf_counter() - began
    view = client.view(_session(tokens))
    rate = view["text"]["tokens"] / seconds
    return [
        # A short text is over before the reading of its progress has begun.
        Figure(f"reading_{tokens}_tokens_per_second", rate, READING if tokens >= 1_000_000 else None),
        Figure(f"memory_of_{tokens}_tokens_bytes", view["memory"]["bytes"]),
    ]


def _piece(number: int) -> str:
    """Prose, and then one place to ask for."""
    random = Random(number)
    name = "".join(random.choices(SYLLABLES, k=4)).capitalize()
    return prose_of_bytes(PIECE_BYTES, seed=number) + FACT.format(number=number, name=name)


def _session(tokens: int) -> str:
    return f"read-{tokens}"
