"""Packed linear maps against plain sums in float64, and a row against the same row in company."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from model.layers.packed_linear import FEW_ROWS, STEPS, WEIGHT_STEPS, PackedLinear, Packing, pack, packings

every_packing = pytest.mark.parametrize("packing", packings())
row_counts = st.integers(1, 40)
seeds = st.integers(0, 1000)
IN, OUT = 48, 40


def drawn(seed: int, *shape: int) -> Tensor:
    """Values of very different sizes, as activations are."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator) * torch.randn(shape[-1], generator=generator).exp()


def bound(packing: Packing, x: Tensor, weight: Tensor) -> Tensor:
    """How far each result may be off, from the steps that inputs and weights are rounded to; half a step each."""
    x, weight = x.double().abs(), weight.double().abs()
    if packing != "int8":
        rounded = {"float32": 2.0**-20, "float16": 2.0**-11, "bfloat16": 2 * 2.0**-8}[packing]
        return x @ weight.T * rounded * 1.1 + (x @ weight.T).amax() * 2.0**-8 * (packing == "bfloat16") + 1e-6
    of_weights = x.sum(dim=1, keepdim=True) * (weight.amax(dim=1) / WEIGHT_STEPS / 2)
    of_inputs = x.amax(dim=1, keepdim=True) / STEPS / (2 * STEPS) / 2 * (weight.sum(dim=1) + weight.amax(dim=1))
    return (of_weights + of_inputs) * 1.01 + 1e-6


@every_packing
@given(rows=row_counts, seed=seeds)
def test_a_packed_map_is_as_near_to_the_exact_one_as_its_steps_allow(packing: Packing, rows: int, seed: int) -> None:
    weight, x, bias = drawn(seed, OUT, IN), drawn(seed + 1, rows, IN), drawn(seed + 2, OUT)
    x[0] = 0
    exact = x.double() @ weight.double().T + bias.double()
    made = PackedLinear(weight, bias, packing, packing)(x)
    assert made.dtype == torch.float32
    assert ((made.double() - exact).abs() <= bound(packing, x, weight)).all()


@given(rows=row_counts, seed=seeds)
def test_a_row_in_int8_does_not_depend_on_the_rows_beside_it(rows: int, seed: int) -> None:
    if "int8" not in packings():
        pytest.skip("this processor has no int8 products")
    linear = PackedLinear(drawn(seed, OUT, IN), None, "int8", "int8")
    x = drawn(seed + 1, rows, IN) * torch.logspace(-3, 3, rows)[:, None]
    assert torch.equal(linear(x), torch.cat([linear(row[None]) for row in x]))


@every_packing
def test_a_packed_module_has_no_linear_map_left_and_takes_any_shape(packing: Packing) -> None:
    module = nn.Sequential(nn.Linear(IN, OUT), nn.ReLU(), nn.Linear(OUT, IN, bias=False)).requires_grad_(False)
    x = drawn(1, 2, 3, IN)
    expected = module(x)
    pack(module, packing, packing)
    found = module(x)
    assert not [each for each in module.modules() if isinstance(each, nn.Linear)]
    assert found.shape == (2, 3, IN)
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05 * float(expected.abs().max()))


def test_few_rows_and_many_may_be_packed_differently() -> None:
    weight, x = drawn(3, OUT, IN), drawn(4, FEW_ROWS + 1, IN)
    for many, few in itertools.product(packings(), repeat=2):
        linear = PackedLinear(weight, None, many, few)
        assert torch.equal(linear(x), PackedLinear(weight, None, many, many)(x))
        assert torch.equal(linear(x[:FEW_ROWS]), PackedLinear(weight, None, few, few)(x[:FEW_ROWS]))
