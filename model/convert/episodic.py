"""The configuration of an `episodic` memory around a pretrained decoder: sizes that fit its context, and its prompt."""

from __future__ import annotations

from dataclasses import replace

from model.config import ModelConfig, SpecialTokens
from model.convert.huggingface import Settings
from model.convert.tensors import ForeignModelError
from model.tokenizer import TextTokenizer

EPISODE_TOKENS = 128
RECALL_TOKENS = 1024
# At six bytes a token or less, 64 MiB.
CAPACITY_TOKENS = 10 * 2**20
QUESTION_AND_ANSWER_TOKENS = 256

# Measured with SmolLM2-135M-Instruct (LOG.md): without an instruction it talks about the question.
INSTRUCTION = "Read the text and answer the question in a few words from it.\n\n"
QUESTION = "\n\nQuestion: "
# Stands where text is left out.
GAP = "\n[...]\n"


def episodic_config(
    settings: Settings, special: SpecialTokens, tokenizer: TextTokenizer, episode: int | None, recall: int | None
) -> ModelConfig:
    """`recall` tokens are read again, or as many as the context leaves room for beside a question and its answer."""
    episode = episode or EPISODE_TOKENS
    special = replace(
        special,
        opening=(*special.opening, *tokenizer.encode(INSTRUCTION)),
        question=tuple(tokenizer.encode(QUESTION)),
        gap=tuple(tokenizer.encode(GAP)),
    )
    taken = len(special.opening) + episode + QUESTION_AND_ANSWER_TOKENS
    each = episode + len(special.gap)
    fitting = (settings["window_tokens"] - taken) // each * episode
    if fitting < episode:
        raise ForeignModelError(
            f"a context of {settings['window_tokens']} tokens is too short: the window of a question needs at least "
            f"{taken + each}"
        )
    # A larger vocabulary takes four bytes a token in place of two.
    capacity = CAPACITY_TOKENS if settings["vocab_size"] <= 1 << 16 else CAPACITY_TOKENS * 3 // 4
    return ModelConfig(
        **settings,
        special=special,
        segment_tokens=episode,
        mechanism="episodic",
        recall_tokens=min(recall or RECALL_TOKENS, fitting),
        capacity_tokens=capacity,
    )
