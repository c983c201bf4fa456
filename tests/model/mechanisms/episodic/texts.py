"""An episodic model with a tokeniser that keeps every byte, and what it makes of a text."""

from __future__ import annotations

from dataclasses import replace

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from model.checkpoint import Checkpoint
from model.config import ModelConfig
from model.mechanisms.episodic.memory import EpisodicMemory
from model.mechanisms.episodic.transformer import EpisodicTransformer
from model.tokenizer import TextTokenizer
from testing.models import EPISODIC, prose, random_model


def gpt2_like() -> TextTokenizer:
    """A byte-level BPE with GPT-2's pieces."""
    tokenizer: Tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=340, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([prose(1, 20_000)], trainer)
    return TextTokenizer(tokenizer)


TOKENIZER = gpt2_like()


def episodic_model(**changes: int) -> EpisodicTransformer:
    config: ModelConfig = replace(EPISODIC, **changes)  # type: ignore[arg-type]
    model = random_model(config)
    assert isinstance(model, EpisodicTransformer)
    model.use_vocabulary(TOKENIZER.pieces)
    return model


def read(model: EpisodicTransformer, text: bytes) -> Checkpoint:
    """A session that has read the text at once."""
    start = Checkpoint.empty(model.initial_memory(1))
    ids, pending = TOKENIZER.advance(b"", text)
    advance = start.advance(ids, pending, len(text), model.config.segment_tokens)
    segments = torch.tensor(advance.segments).view(-1, model.config.segment_tokens)
    return advance.finish(model.skip(segments, start.memory))


def episodic(state: Checkpoint) -> EpisodicMemory:
    assert isinstance(state.memory, EpisodicMemory)
    return state.memory
