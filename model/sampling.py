"""Choosing the next token: greedy or sampled, from scores alone.

It knows rows of scores, each by itself, and nothing of memories, caches or text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How an answer's tokens are chosen; temperature 0 is greedy, top_k 0 and top_p 1 leave all tokens in."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


class Written(NamedTuple):
    """A token of an answer; `logprob` is the natural logarithm of the model's own share for it, where it was asked for.

    The model's own: before temperature, top k and top p.
    """

    token: int
    logprob: float | None = None


class Sampler:
    """Chooses the tokens of one answer; with a seed, the same scores give the same tokens."""

    def __init__(self, sampling: Sampling, logprobs: bool = False) -> None:
        self._sampling, self._logprobs = sampling, logprobs
        self._generator = torch.Generator()
        if sampling.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(sampling.seed)

    def choose(self, scores: Tensor) -> Written:
        """A token from scores (vocab_size)."""
        return choose_each([self], scores[None])[0]

    def _chosen(self, scores: Tensor, best: int) -> Written:
        token = best if self._sampling.temperature == 0 else self._drawn(scores)
        return Written(token, float(scores.float().log_softmax(dim=-1)[token]) if self._logprobs else None)

    def _drawn(self, scores: Tensor) -> int:
        shares = nucleus(scores.cpu(), self._sampling)
        return int(torch.multinomial(shares, 1, generator=self._generator))


def choose_each(samplers: Sequence[Sampler], scores: Tensor) -> list[Written]:
    """A token for each from its row of scores (B, vocab_size); the best ones are found for all rows at once."""
    best = scores.argmax(dim=-1).tolist()
    return [sampler._chosen(*each) for sampler, *each in zip(samplers, scores, best, strict=True)]


def nucleus(scores: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities (vocab_size): temperature, then the top k, then the smallest set of mass top_p (1904.09751)."""
    # From the best score down and in float64: the coldest temperature is greedy then, not infinite.
    scores = (scores.double() - scores.max().double()) / sampling.temperature
    if 0 < sampling.top_k < scores.shape[0]:
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[-1], -torch.inf)
    shares = scores.softmax(dim=-1)
    if sampling.top_p < 1:
        ordered, order = shares.sort(descending=True)
        # The token that crosses the mass stays in: what lies before it is still below top_p.
        outside = ordered.cumsum(dim=-1) - ordered >= sampling.top_p
        shares = shares.index_fill(0, order[outside], 0.0)
    return shares / shares.sum()
