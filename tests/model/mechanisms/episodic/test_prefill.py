"""Prefill and decode of an episodic model agree with the decoder's equations in plain loops."""

from dataclasses import replace

import pytest
import torch

from model.layers.backbone_naive import PlainBackbone
from model.mechanisms.base import MemoryTransformer
from testing.models import EPISODIC, random_model
from tests.model.mechanisms.test_naive import GEMMA, GPT2, LLAMA3, QWEN

SHAPES = {name: replace(EPISODIC, **own) for name, own in (("gpt2", GPT2), ("llama 3", LLAMA3), ("qwen", QWEN))} | {
    "gemma 2": replace(EPISODIC, **GEMMA)
}
shapes = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
TOKENS = [5, 300, 17, 17, 42, 8, 120, 3, 3, 77, 201, 9]
PROMPT = 9


def plain_scores(model: MemoryTransformer, tokens: list[int]) -> torch.Tensor:
    """Scores (N, vocab_size) after each token."""
    plain = PlainBackbone(model.config, model)
    h = plain.with_positions(plain.embedded(tokens))
    for layer in range(model.config.n_layers):
        h = plain.block(f"blocks.{layer}", h)
    return torch.stack([plain.logits(x) for x in h])


@shapes
def test_prompts_of_different_lengths_and_what_follows_them_are_scored_as_by_plain_loops(config) -> None:  # type: ignore[no-untyped-def]
    model = random_model(config).double()
    expected = plain_scores(model, TOKENS)
    lengths = torch.tensor([PROMPT, 4, 1])
    prompts = torch.tensor([[*TOKENS[:length], *[0] * (PROMPT - length)] for length in lengths.tolist()])
    memory = model.initial_memory(1)
    hidden, cache = model.prefill(prompts, lengths, memory, len(TOKENS) - PROMPT)
    for step in range(3):
        places = lengths + step
        torch.testing.assert_close(model.logits(hidden), expected[places - 1], rtol=0, atol=1e-9)
        hidden = model.decode_step(torch.tensor(TOKENS)[places], memory, cache)
