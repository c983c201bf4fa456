"""Greedy and sampled tokens, and their log-probabilities."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import model.sampling
from model.sampling import Sampler, Sampling, Written, choose_each, nuclei, nucleus

SCORES = torch.tensor([0.1, 2.0, 1.0, -3.0, 1.5])
# What the seed 5 has always drawn from them: answers with a seed stay the same from version to version.
SEED_5_TOKENS = [1, 1, 4, 1, 2, 1, 2, 0, 1, 1, 1, 1, 4, 1, 1, 1, 4, 1, 4, 1]


def chosen(sampler: Sampler, scores: torch.Tensor, generator: torch.Generator | None = None) -> Written:
    """The token of a batch of one row."""
    [written] = choose_each([sampler], scores[None], generator or torch.Generator())
    return written


def test_greedy_takes_the_best() -> None:
    assert chosen(Sampler(Sampling()), SCORES) == (1, None)


def test_a_seed_gives_the_same_tokens_whatever_the_batch() -> None:
    one, two = (Sampler(Sampling(temperature=1.0, seed=5)) for _ in range(2))
    others = [Sampler(Sampling(temperature=2.0)), Sampler(Sampling())]
    alone = [chosen(one, SCORES) for _ in range(50)]
    assert [choose_each([*others, two], SCORES.expand(3, -1), torch.Generator())[2] for _ in range(50)] == alone
    assert [written.token for written in alone[:20]] == SEED_5_TOKENS


@pytest.mark.parametrize("logprobs", [False, True])
def test_without_a_seed_all_likely_tokens_come(logprobs: bool) -> None:
    sampler, generator = Sampler(Sampling(temperature=1.0), logprobs), torch.Generator()
    assert {chosen(sampler, SCORES, generator).token for _ in range(2000)} >= {0, 1, 2, 4}


rows = st.lists(
    st.tuples(
        st.lists(st.floats(-30, 30, width=32), min_size=6, max_size=6),
        st.builds(Sampling, st.floats(0.01, 5), st.floats(0.01, 1), st.integers(0, 8)),
    ),
    min_size=1,
    max_size=9,
)


@given(rows)
def test_the_batched_distribution_is_that_of_each_row(rows: list[tuple[list[float], Sampling]]) -> None:
    scores, samplings = torch.tensor([row for row, _ in rows]), [sampling for _, sampling in rows]
    for row, each, sampling in zip(nuclei(scores, samplings), scores, samplings, strict=True):
        torch.testing.assert_close(row, nucleus(each, sampling), rtol=1e-14, atol=0)


@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_draws_follow_the_distribution_and_greedy_rows_stay(chunk_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pearson's chi-square over 20,000 draws of each row, below its 99.9 % quantile of 4 degrees of freedom."""
    monkeypatch.setattr(model.sampling, "CHUNK_SCORES", chunk_rows * len(SCORES))
    draws, generator = 20_000, torch.Generator().manual_seed(11)
    samplings = [Sampling(1.0), Sampling(2.0, top_p=0.9), Sampling(0.5, top_k=3), Sampling()]
    counts = torch.zeros(4, 5, dtype=torch.float64)
    samplers = [Sampler(sampling) for sampling in samplings for _ in range(100)]
    scores = SCORES.expand(len(samplers), -1)
    for _ in range(draws // 100):
        tokens = [written.token for written in choose_each(samplers, scores, generator)]
        for row in range(4):
            counts[row] += torch.tensor(tokens[row * 100 : (row + 1) * 100]).bincount(minlength=5)
    for row, sampling in enumerate(samplings[:3]):
        expected = draws * nucleus(SCORES, sampling)
        possible = expected > 0
        assert counts[row][~possible].sum() == 0
        assert float(((counts[row] - expected)[possible] ** 2 / expected[possible]).sum()) < 18.47
    assert counts[3].tolist() == [0, draws, 0, 0, 0]


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
    token, logprob = chosen(Sampler(sampling, logprobs=True), torch.tensor(scores))
    expected = math.log(math.exp(scores[token]) / sum(map(math.exp, scores)))
    assert logprob == pytest.approx(expected, abs=1e-4)
    assert chosen(Sampler(sampling), torch.tensor(scores)) == (token, None)


def test_a_logprob_is_worked_out_in_float32() -> None:
    scores = torch.linspace(-4, 4, 1000, dtype=torch.bfloat16)
    written = chosen(Sampler(Sampling(), logprobs=True), scores)
    assert written.logprob == float(scores.float().log_softmax(dim=-1).max())
