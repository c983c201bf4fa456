"""The delta rule's operator against its plain twin in float64, for rows, windows, heads and chunks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.mechanisms.delta_naive import delta_rule as plain_delta_rule
from model.mechanisms.delta_ops import delta_rule

TOKENS, KEY, VALUE, SIZE = 11, 6, 5, 4


def operands(rows: int, windows: int, heads: int, chunks: int, seed: int) -> tuple[Tensor, ...]:
    """q, k, v, beta, at and a state, of which each window's last writes have a strength of zero."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(rows, windows, heads, *shape, dtype=torch.float64, generator=generator)

    writers = torch.randint(min(TOKENS, chunks * SIZE) + 1, (rows, windows), generator=generator)
    places = torch.zeros(rows, windows, chunks * SIZE, dtype=torch.int64)
    beta = torch.rand(rows, windows, heads, chunks * SIZE, dtype=torch.float64, generator=generator)
    for row in range(rows):
        for window in range(windows):
            count = int(writers[row, window])
            places[row, window, :count] = torch.randperm(TOKENS, generator=generator)[:count].sort().values
            beta[row, window, :, count:] = 0
    k, v = random(chunks, KEY, SIZE) / KEY**0.5, random(chunks, VALUE, SIZE)
    state = torch.randn(rows, heads, KEY, VALUE, dtype=torch.float64, generator=generator)
    strengths = beta.view(rows, windows, heads, chunks, 1, SIZE)
    return random(KEY, TOKENS), k, v, strengths, places.view(rows, windows, chunks, SIZE), state


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.integers(0, 10_000))
def test_the_operator_equals_its_plain_twin(rows: int, windows: int, heads: int, chunks: int, seed: int) -> None:
    q, k, v, beta, at, state = operands(rows, windows, heads, chunks, seed)
    o, final = delta_rule(q, k, v, beta, at, state)
    for row in range(rows):
        for head in range(heads):
            expected = state[row, head]
            for window in range(windows):
                each = row, window, head
                found, expected = plain_delta_rule(
                    q[each].T,
                    k[each].transpose(1, 2).flatten(0, 1),
                    v[each].transpose(1, 2).flatten(0, 1),
                    beta[each].flatten(),
                    at[row, window].flatten(),
                    expected,
                )
                torch.testing.assert_close(o[each].T, found, rtol=1e-10, atol=1e-10)
            torch.testing.assert_close(final[row, head], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("readers", [0, 1, 3])
def test_only_the_first_rows_may_read_and_all_write(readers: int) -> None:
    q, k, v, beta, at, state = operands(3, 2, 2, 2, seed=1)
    o, final = delta_rule(q, k, v, beta, at, state)
    some, same = delta_rule(q[:readers], k, v, beta, at, state)
    assert some.shape == (readers, *o.shape[1:])
    torch.testing.assert_close(some, o[:readers])
    assert torch.equal(same, final)


def test_a_strength_of_zero_changes_no_bit() -> None:
    q, k, v, beta, at, state = operands(2, 2, 2, 2, seed=2)
    zero_beta = torch.zeros_like(beta)
    o, final = delta_rule(q, k, v, zero_beta, at, state)
    assert torch.equal(final, state)
    torch.testing.assert_close(o, (state.mT[:, None] @ q))
    assert not torch.equal(delta_rule(q, k, v, beta, at, state)[1], state)
