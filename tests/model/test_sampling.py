"""Greedy and sampled tokens, and their log-probabilities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.sampling import Sampler, Sampling, nucleus

SCORES = torch.tensor([0.1, 2.0, 1.0, -3.0, 1.5])


def test_greedy_takes_the_best() -> None:
    assert Sampler(Sampling()).choose(SCORES) == (1, None)


def test_a_seed_gives_the_same_tokens() -> None:
    one, two = (Sampler(Sampling(temperature=1.0, seed=5)) for _ in range(2))
    assert [one.choose(SCORES) for _ in range(50)] == [two.choose(SCORES) for _ in range(50)]


def test_without_a_seed_all_likely_tokens_come() -> None:
    sampler = Sampler(Sampling(temperature=1.0))
    assert {sampler.choose(SCORES).token for _ in range(2000)} >= {0, 1, 2, 4}


@given(st.floats(0.1, 5), st.floats(0.01, 1), st.integers(0, 8))
def test_the_nucleus_is_the_smallest_set_of_its_mass(temperature: float, top_p: float, top_k: int) -> None:
    shares = nucleus(SCORES, Sampling(temperature, top_p, top_k))
    everything = (SCORES / temperature).softmax(dim=-1)
    order = everything.argsort(descending=True).tolist()[: top_k or None]
    kept = [token for token in order if shares[token] > 0]
    assert abs(float(shares.sum()) - 1) < 1e-5
    assert kept == order[: len(kept)]
    mass = float(everything[order[: len(kept)]].sum() / everything[order].sum())
    assert mass >= min(top_p, 1) - 1e-5
    fewer = float(everything[order[: len(kept) - 1]].sum() / everything[order].sum())
    assert fewer < top_p + 1e-5


def test_the_shares_are_temperatures() -> None:
    torch.testing.assert_close(nucleus(SCORES, Sampling(2.0)), (SCORES.double() / 2).softmax(dim=-1))


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=9), st.floats(0, 3), st.floats(0.1, 1), st.integers(0, 4))
def test_a_logprob_is_of_the_models_own_shares(
    scores: list[float], temperature: float, top_p: float, top_k: int
) -> None:
    sampling = Sampling(temperature, top_p, top_k, seed=3)
    token, logprob = Sampler(sampling, logprobs=True).choose(torch.tensor(scores))
    expected = math.log(math.exp(scores[token]) / sum(map(math.exp, scores)))
    assert logprob == pytest.approx(expected, abs=1e-4)
    assert Sampler(sampling).choose(torch.tensor(scores)) == (token, None)


def test_a_logprob_is_worked_out_in_float32() -> None:
    scores = torch.linspace(-4, 4, 1000, dtype=torch.bfloat16)
    written = Sampler(Sampling(), logprobs=True).choose(scores)
    assert written.logprob == float(scores.float().log_softmax(dim=-1).max())
