"""`python -m model.training`: trains weights from books, on the processor or a GPU."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

import torch

from model import weights
from model.config import ModelConfig, SpecialTokens
from model.mechanisms import build
from model.mechanisms.base import MemoryTransformer
from model.tasks.babi.stories import MANNERS, questions, story
from model.tasks.babi.world import World
from model.tasks.haystack import Books
from model.tokenizer import TextTokenizer
from model.training.curriculum import DEFAULT_CURRICULUM
from model.training.lora import adapt
from model.training.picture import draw
from model.training.trainer import LOG, Trainer

VOCABULARY = 8192
# Enough of both that every word of theirs becomes one entry, at the beginning of a line too.
STORIES, STORY_FACTS = 200, 40


def default_config() -> ModelConfig:
    """The bAbI weights' shape: small enough for one core to learn in an hour, and for the repository to hold."""
    first_special = VOCABULARY - 4
    return ModelConfig(
        vocab_size=VOCABULARY,
        d_model=128,
        n_layers=4,
        n_heads=4,
        n_kv_heads=4,
        d_ff=384,
        # Gemma's scale: tokens outweigh what the layers and memories add to them at first.
        embedding_scale=11.3,
        rope_theta=100.0,
        memory_heads=8,
        memory_key_dim=16,
        memory_rolls=4,
        segment_tokens=64,
        context_tokens=8,
        tail_in_memory=True,
        special=SpecialTokens(first_special, (first_special + 1,), (first_special + 2,), first_special + 3),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m model.training", description=__doc__)
    parser.add_argument("--books", type=Path, required=True, help="plain text, one paragraph a line")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; an interrupted run goes on")
    parser.add_argument(
        "--tokenizer", type=Path, help="tokenizer.json to use; learned from books and stories if left out"
    )
    parser.add_argument("--weights", type=Path, help="folder of weights to begin with, of any mechanism")
    parser.add_argument("--lora", type=int, default=0, help="rank of changes to the backbone, which then stays frozen")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="products in bfloat16; memories stay float32")
    parser.add_argument("--replay", action="store_true", help="memory replay back-propagation: less memory, more time")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--picture", type=Path, help="draw the course of the run when it has ended, .svg or .png")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    books = Books.read(arguments.books)
    model, tokenizer = _begun(arguments, books)
    Trainer(
        arguments.out,
        model,
        tokenizer,
        books,
        DEFAULT_CURRICULUM,
        arguments.seed,
        bf16=arguments.bf16,
        replayed=arguments.replay,
    ).run()
    if arguments.picture:
        draw(arguments.out / LOG, arguments.picture)


def _begun(arguments: argparse.Namespace, books: Books) -> tuple[MemoryTransformer, TextTokenizer]:
    """What the run begins with: given weights, or random ones of the default shape."""
    torch.manual_seed(arguments.seed)
    if arguments.weights:
        loaded = weights.load(arguments.weights)
        model = loaded.model.train().requires_grad_(True)
        return adapt(model, arguments.lora) if arguments.lora else model, loaded.tokenizer
    config = default_config()
    kept = arguments.tokenizer or arguments.out / "weights" / "tokenizer.json"
    known = kept.exists()
    tokenizer = TextTokenizer.read(kept) if known else TextTokenizer.train(_texts(books), config.special.start)
    return build(config), tokenizer


def _texts(books: Books) -> Iterator[str]:
    """The books and stories: a name in one token is bound to its place sooner than one in three."""
    yield from books.lines()
    random = Random(0)
    for _ in range(STORIES):
        for task, manner in MANNERS.items():
            world = World()
            facts = list(islice(story(random, manner), STORY_FACTS))
            for fact in facts:
                world.hear(fact)
            yield "x " + " ".join(facts)
            yield "\n".join(" ".join(facts).split(" "))
            yield " ".join(f"{question} {answer}" for question, answer in questions(task, world, manner))


if __name__ == "__main__":
    main()
