"""The local window of a question: what stands behind the context, up to the mark behind which the answer begins.

It knows token ids, and nothing of text, memories or sampling. Training and serving both build windows here.

The tail does not stand in it: it is read into a copy of the memory first, as the short segment that it is, so that
what was said last is looked up in the same way as what was said long ago (LOG.md has the measurement).
"""

from __future__ import annotations

from collections.abc import Sequence

from model.config import ModelConfig


def prompt_ids(config: ModelConfig, question: Sequence[int]) -> list[int]:
    """What stands behind the context when a question is put: question mark, question, answer mark."""
    return [config.special.question, *question, config.special.answer]


def answer_room(config: ModelConfig, prompt: Sequence[int]) -> int:
    """How many tokens an answer can have behind this prompt; negative when the prompt itself is too long."""
    return config.window_tokens - config.context_tokens - len(prompt)
