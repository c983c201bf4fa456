"""What is measured at startup decides how weights are packed; a user may decide it instead."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.layers.packed_linear import PackedLinear, Packing, packings
from model.mechanisms.base import MemoryTransformer
from model.runtime.precision import CLEARLY, WORTH_IT, PrecisionError, fastest, set_precision
from testing.models import EPISODIC, MECHANISMS, random_model

others = pytest.mark.parametrize("config", MECHANISMS.values(), ids=MECHANISMS)
TOKENS = torch.tensor([[5, 300, 17, 42, 8, 120, 3, 77, 201, 9]])
seconds = st.floats(1e-6, 1.0)


def scores(model: MemoryTransformer) -> torch.Tensor:
    """After a prompt and after one more token."""
    memory = model.initial_memory(1)
    hidden, cache = model.prefill(TOKENS[:, :-1], torch.tensor([TOKENS.shape[1] - 1]), memory, 1)
    return model.logits(torch.cat([hidden, model.decode_step(TOKENS[:, -1], memory, cache)]))


def packed_maps(model: MemoryTransformer) -> int:
    return sum(isinstance(module, PackedLinear) for module in model.modules())


@pytest.mark.parametrize("precision", packings())
@pytest.mark.parametrize("tied", [True, False])
def test_a_packed_model_scores_tokens_much_as_it_did(precision: Packing, tied: bool) -> None:
    config = replace(EPISODIC, tied_head=tied)
    model = random_model(config)
    expected = scores(model)
    plan = set_precision(model, precision)
    assert (plan.prefill, plan.decode) == (precision, precision)
    assert packed_maps(model) == (0 if precision == "float32" else 4 * config.n_layers + 1)
    difference = (scores(model) - expected).square().mean().sqrt() / expected.std()
    assert difference <= {"float32": 0.0, "float16": 3e-3}.get(precision, 0.1)


def test_by_default_what_was_measured_to_be_fastest_is_taken() -> None:
    plan = set_precision(random_model(EPISODIC), "auto")
    assert set(plan.prefill_seconds) == set(plan.decode_seconds) == set(packings())
    assert plan.prefill == fastest(plan.prefill_seconds)
    assert plan.decode == fastest(plan.decode_seconds, plan.prefill)
    assert f"prefill {plan.prefill}" in str(plan)
    assert f"decode {plan.decode}" in str(plan)


@given(st.dictionaries(st.sampled_from(packings()), seconds).map(lambda timed: {**timed, "float32": 0.5}))
def test_a_packing_is_taken_for_its_speed_only_if_that_is_clear(timed: dict[Packing, float]) -> None:
    usual: Packing = "float16" if "float16" in timed else "float32"
    taken = fastest(timed)
    shares = {packing: value / timed[usual] for packing, value in timed.items()}
    limits = {packing: WORTH_IT if packing == "int8" else CLEARLY for packing in timed}
    worth = [packing for packing in timed if shares[packing] < limits[packing]]
    assert taken in worth if worth else taken == usual


@others
def test_the_other_mechanisms_stay_as_they_were_trained(config) -> None:  # type: ignore[no-untyped-def]
    model = random_model(config)
    assert set_precision(model, "auto").prefill == "float32"
    assert not packed_maps(model)
    with pytest.raises(PrecisionError, match=rf"int8 is not possible with mechanism {config.mechanism}.*float32"):
        set_precision(model, "int8")
