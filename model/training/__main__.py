"""`python -m model.training`: trains weights from books, on the processor or a GPU.

It knows the command line; the work is in the trainer.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from model.config import ModelConfig, SpecialTokens
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training.curriculum import DEFAULT_CURRICULUM
from model.training.trainer import Trainer

VOCABULARY = 8192


def default_config() -> ModelConfig:
    """The default weights' shape: small enough for one core to learn in an hour, and for the repository to hold."""
    first_special = VOCABULARY - 4
    return ModelConfig(
        vocab_size=VOCABULARY,
        d_model=128,
        n_layers=3,
        n_heads=4,
        n_kv_heads=4,
        d_ff=384,
        # Gemma's scale: tokens outweigh what the layers and memories add to them at first.
        embedding_scale=11.3,
        rope_theta=100.0,
        context_tokens=8,
        special=SpecialTokens(first_special, first_special + 1, first_special + 2, first_special + 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    parser.add_argument("--books", type=Path, required=True, help="plain text, one paragraph a line")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run goes on")
    parser.add_argument("--tokenizer", type=Path, help="tokenizer.json to use; learned from the books if left out")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    config = default_config()
    books = Books.read(arguments.books)
    kept = arguments.tokenizer or arguments.out / "weights" / "tokenizer.json"
    known = kept.exists()
    tokenizer = TextTokenizer.read(kept) if known else TextTokenizer.train(books.lines(), config.special.start)
    Trainer(arguments.out, config, tokenizer, books, DEFAULT_CURRICULUM, arguments.seed).run()


if __name__ == "__main__":
    main()
