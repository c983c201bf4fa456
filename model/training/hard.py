"""Sentences of the books that the write gate takes for facts: the noise worth learning from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from tqdm import tqdm

from model.mechanisms.delta import DeltaTransformer
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer

_SENTENCES_AT_ONCE = 256


@torch.no_grad()
def hard_sentences(
    model: DeltaTransformer, tokenizer: TextTokenizer, books: Books, sentences_max: int, score: float = -2.0
) -> list[str]:
    """The sentences of all books of which a token's gate is open or nearly so, the worst first.

    Two sentences are taken together, since what stands before a token decides too; `score` is the gate's logit.
    """
    found: list[tuple[float, str]] = []
    pairs = books.pairs()
    for start in tqdm(range(0, len(pairs), _SENTENCES_AT_ONCE), desc="looking for hard noise", leave=False):
        batch = pairs[start : start + _SENTENCES_AT_ONCE]
        ids = [tokenizer.encode(" " + pair) for pair in batch]
        scores = model.write_scores(_padded(ids, model.config.special.start).to(model.device))
        worst = [float(row[: len(tokens)].max()) for row, tokens in zip(scores, ids, strict=True)]
        found += [(value, pair) for value, pair in zip(worst, batch, strict=True) if value > score]
    return [pair for _, pair in sorted(found, reverse=True)[:sentences_max]]


def _padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows])
