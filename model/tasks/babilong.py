"""Samples of BABILong (2406.10149): a story's facts hidden in order between the sentences of running book text."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from model.tasks.haystack import Books, hide

# A GPT-2 token of English books has about so many bytes; lengths are counted in such tokens whatever the tokeniser.
BYTES_PER_TOKEN = 4.27
SENTENCE_TOKENS_MIN = 10


def sample(random: Random, books: Books, facts: Sequence[str], tokens: int) -> str:
    """The facts in a text of `tokens` tokens, its noise from a random place of the books on; 0 is the facts alone.

    Sentences under ten tokens are left out, and the last one is cut to the length.
    """
    needed = sum(len(fact.encode()) + 1 for fact in facts)
    if not tokens:
        return " ".join(facts)
    budget = int(tokens * BYTES_PER_TOKEN) - needed
    if budget < 0:
        raise ValueError(
            f"{tokens} tokens ({tokens * BYTES_PER_TOKEN:.0f} bytes) cannot hold facts of {needed} bytes; "
            "ask for a greater length, or for 0, which is the facts alone"
        )
    return hide(random, facts, noise(random, books, budget))[0]


def noise(random: Random, books: Books, bytes_max: int) -> list[str]:
    """Sentences in order, of `bytes_max` bytes together with the break before each; the last one is cut."""
    sentences: list[str] = []
    paragraphs = books.paragraphs_max
    for passed, paragraph in enumerate(books.paragraphs(random)):
        if not sentences and passed >= paragraphs:
            raise ValueError("the books have no sentence of ten tokens (43 bytes); give running text")
        begins = True
        for sentence in paragraph:
            size = len(sentence.encode())
            if size < SENTENCE_TOKENS_MIN * BYTES_PER_TOKEN:
                continue
            if size + 1 >= bytes_max:
                cut = sentence.encode()[: max(0, bytes_max - 1)].decode(errors="ignore")
                return [*sentences, cut] if cut else sentences
            sentences.append("\n" + sentence if begins and sentences else sentence)
            begins = False
            bytes_max -= size + 1
    raise AssertionError("paragraphs never end")
