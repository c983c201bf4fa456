"""Choosing the next token: greedy or sampled, from scores (logits) alone.

Rows with a temperature are sampled together on the device, on a CPU in chunks of rows; a row with a seed or
log-probabilities is sampled by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

# On a CPU so many scores are sampled from at a time: more would not stay in its cache.
CHUNK_SCORES = 1 << 17


@dataclass(frozen=True)
class Sampling:
    """How an answer's tokens are chosen; temperature 0 is greedy, top_k 0 and top_p 1 leave all tokens in."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None


class Written(NamedTuple):
    """A token of an answer; `logprob` is the natural logarithm of the model's probability of it, where asked for.

    That is the probability before temperature, top k and top p.
    """

    token: int
    logprob: float | None = None


class Sampler:
    """Chooses the tokens of one answer; with a seed, the same scores give the same tokens."""

    def __init__(self, sampling: Sampling, logprobs: bool = False) -> None:
        self.sampling = sampling
        self._logprobs = logprobs
        # Whether its row is chosen by itself, with a generator of its own.
        self.alone = logprobs or (sampling.temperature > 0 and sampling.seed is not None)
        self._generator: torch.Generator | None = None
        if self.alone:
            self._generator = torch.Generator()
            if sampling.seed is None:
                self._generator.seed()
            else:
                self._generator.manual_seed(sampling.seed)

    def choose(self, scores: Tensor, best: int) -> Written:
        """A token for scores (vocab_size), whose largest is that of token `best`."""
        token = best
        if self.sampling.temperature > 0:
            probabilities = nucleus(scores.cpu(), self.sampling)
            token = int(torch.multinomial(probabilities, 1, generator=self._generator))
        return Written(token, float(scores.float().log_softmax(dim=-1)[token]) if self._logprobs else None)

    @property
    def state(self) -> Tensor | None:
        """How far its generator has been drawn from; to set it is to draw from there again."""
        return None if self._generator is None else self._generator.get_state()

    @state.setter
    def state(self, state: Tensor | None) -> None:
        if self._generator is not None and state is not None:
            self._generator.set_state(state)


def choose_each(samplers: Sequence[Sampler], scores: Tensor, generator: torch.Generator) -> list[Written]:
    """A token for each sampler from its row of scores (B, vocab_size); `generator` is of the scores' device.

    Where this raises no sampler has drawn a number: the same rows, or some of them, may be chosen from again.
    """
    tokens = scores.argmax(dim=-1)
    drawn = [row for row, each in enumerate(samplers) if each.sampling.temperature > 0 and not each.alone]
    chunk = max(1, CHUNK_SCORES // scores.shape[1]) if scores.device.type == "cpu" else len(samplers)
    for begin in range(0, len(drawn), chunk):
        some = drawn[begin : begin + chunk]
        rows = torch.tensor(some, device=scores.device)
        tokens[rows] = draw(nuclei(scores[rows], [samplers[row].sampling for row in some]), generator)
    states = [sampler.state for sampler in samplers]
    try:
        return [
            sampler.choose(scores[row], token) if sampler.alone else Written(token)
            for row, (sampler, token) in enumerate(zip(samplers, tokens.tolist(), strict=True))
        ]
    except Exception:
        for sampler, state in zip(samplers, states, strict=True):
            sampler.state = state
        raise


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """Tokens (B) by probabilities (B, vocab_size): the first whose cumulated probability is beyond a uniform number."""
    cumulated = probabilities.cumsum(dim=-1)
    total = cumulated[:, -1:]
    uniform = torch.empty_like(total).uniform_(generator=generator)
    # Strictly below the total, or the index would be out of range; `right` skips tokens of probability zero.
    beyond = torch.minimum(uniform * total, total.nextafter(torch.zeros_like(total)))
    return torch.searchsorted(cumulated, beyond, right=True)[:, 0]


def nuclei(scores: Tensor, samplings: Sequence[Sampling]) -> Tensor:
    """`nucleus` of every row at once: probabilities (B, vocab_size) from scores (B, vocab_size)."""
    size, device = scores.shape[1], scores.device
    temperatures = torch.tensor([each.temperature for each in samplings], dtype=torch.float64, device=device)
    scores = (scores.double() - scores.amax(dim=-1, keepdim=True).double()) / temperatures[:, None]
    kept = [min(each.top_k or size, size) for each in samplings]
    if min(kept) < size:
        largest = scores.topk(max(k for k in kept if k < size)).values
        last = torch.tensor([min(k, largest.shape[1]) - 1 for k in kept], device=device)
        lowest = largest.gather(1, last[:, None])
        cut = torch.tensor([k < size for k in kept], device=device)
        scores = scores.masked_fill((scores < lowest) & cut[:, None], -torch.inf)
    probabilities = scores.softmax(dim=-1)
    if any(each.top_p < 1 for each in samplings):
        top_p = torch.tensor([each.top_p for each in samplings], dtype=torch.float64, device=device)
        ordered, order = probabilities.sort(dim=-1, descending=True, stable=True)
        outside = (ordered.cumsum(dim=-1) - ordered >= top_p[:, None]) & (top_p < 1)[:, None]
        probabilities = probabilities.masked_fill(torch.zeros_like(outside).scatter(1, order, outside), 0.0)
    return probabilities / probabilities.sum(dim=-1, keepdim=True)


def nucleus(scores: Tensor, sampling: Sampling) -> Tensor:
    """Probabilities (vocab_size): temperature, then the top k, then the smallest set of mass top_p (1904.09751)."""
    # From the best score down and in float64: the coldest temperature is greedy then, not infinite.
    scores = (scores.double() - scores.max().double()) / sampling.temperature
    if 0 < sampling.top_k < scores.shape[0]:
        scores = scores.masked_fill(scores < scores.topk(sampling.top_k).values[-1], -torch.inf)
    shares = scores.softmax(dim=-1)
    if sampling.top_p < 1:
        ordered, order = shares.sort(descending=True, stable=True)
        # The token that crosses the mass stays in: what lies before it is still below top_p.
        outside = ordered.cumsum(dim=-1) - ordered >= sampling.top_p
        shares = shares.index_fill(0, order[outside], 0.0)
    return shares / shares.sum()
