"""A folder of weights as it lies on the disk."""

from __future__ import annotations

from pathlib import Path

import torch

from model import weights
from model.tokenizer import TextTokenizer
from testing.models import random_model, tiny_config


def test_who_may_read_the_configuration_may_read_the_weights(tiny_weights: Path) -> None:
    assert len({(tiny_weights / name).stat().st_mode for name in weights.FILES}) == 1


def test_weights_stored_in_half_precision_are_loaded_as_those_values(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    model = random_model(tiny_config())
    weights.save(tmp_path, model, tokenizer, torch.float16)
    loaded = weights.load(tmp_path, torch.device("cpu")).model.state_dict()
    assert loaded.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.half().float())
