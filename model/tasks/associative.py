"""Associative retrieval (2407.04841, section 4.1) in words: pairs of a key and a value, and every key asked for."""

from __future__ import annotations

from random import Random
from typing import Literal

Kind = Literal["remember", "rewrite"]

_SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]


def retrieval(random: Random, kind: Kind, pairs: int) -> tuple[list[str], list[tuple[str, str]]]:
    """`pairs` facts, and a question with its answer for every key.

    To remember, every key comes once; to rewrite, keys come again with other values, and the last one counts.
    """
    different = pairs if kind == "remember" else max(1, pairs // 4)
    keys = random.sample([a + b for a in _SYLLABLES for b in _SYLLABLES], different)
    stored = keys if kind == "remember" else [random.choice(keys) for _ in range(pairs)]
    known: dict[str, str] = {}
    facts = []
    for key in stored:
        known[key] = str(random.randrange(10, 100))
        facts.append(f"The number of {key} is {known[key]}.")
    return facts, [(f"What is the number of {key}?", value) for key, value in known.items()]
