"""Needles in books: RULER's retrieval tasks (2404.06654; niah.py in its repository), asked after the text.

A needle says the number of a key; many questions may share one text, and then the needles of the others are in the
way too, as the other keys are in RULER's multi-key task.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

OPENING = (
    "Some special magic numbers are hidden within the following text. Make sure to memorize it. "
    "I will quiz you about the numbers afterwards.\n"
)
NEEDLE = "One of the special magic numbers for {key} is: {value}."
ONE = "What is the special magic number for {keys} mentioned in the provided text?"
SEVERAL = "What are all the special magic numbers for {keys} mentioned in the provided text?"

_ADJECTIVES = (
    "able amber ample ancient autumn brave bright brisk broad calm candid careful cheerful clever cloudy common "
    "cosy crimson curious daring dusty eager early easy elegant faint fancy fearless fierce frosty gentle giant "
    "glossy golden graceful grumpy happy hasty hidden hollow honest humble icy idle jolly keen kindly late lively "
    "lonely lucky mellow merry misty modest narrow nimble noisy odd pale patient plain polite proud quick quiet "
    "rapid rare rough rusty salty scarlet secret sharp shiny silent silver sleepy slender smooth solemn spare "
    "steady stormy sturdy sudden sunny swift tall tame tender thirsty thorny tidy tiny vast velvet vivid warm "
    "weary wild windy wise witty wooden young zesty"
).split()
_NOUNS = (
    "acorn anchor apple apron arrow badge bagel banjo barrel basin beacon beaver bench berry blanket bottle "
    "bridge bucket button cabin camel candle canoe carpet castle cellar cherry chimney clock cloud comet copper "
    "cottage cradle cricket curtain dagger daisy desk dolphin donkey drum eagle easel elbow engine falcon feather "
    "fence ferry fiddle flute forest fountain garlic goblet hammer harbour harp helmet hornet island ivory jacket "
    "jigsaw kettle ladder lantern lemon lizard magnet mantle maple marble meadow mirror mitten needle oyster "
    "paddle parrot pebble pencil pepper pigeon pillow pocket pumpkin quill rabbit raven ribbon saddle sandal "
    "shovel sparrow spoon thimble tunnel turnip violin walnut whistle"
).split()
_SENTENCE_END = re.compile(r"[.!?][\"'”’)]*(?=\s)")


@dataclass(frozen=True)
class Kind:
    """A task: how many keys are hidden for a question, how many values each has, and how many keys are asked for."""

    name: str
    keys: int
    values: int
    asked: int


KINDS = (
    Kind("single", 1, 1, 1),
    Kind("multi-key", 4, 1, 1),
    Kind("multi-value", 1, 4, 1),
    Kind("multi-query", 4, 1, 4),
)


@dataclass(frozen=True)
class Asked:
    """A question after a text; `places` are the ranges of bytes of all the needles that its answer needs."""

    kind: str
    question: str
    values: tuple[str, ...]
    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class NeedleText:
    """A text in pieces, in order, and the questions about it."""

    pieces: tuple[str, ...]
    questions: tuple[Asked, ...]


def hidden(random: Random, books: str, characters: int, rounds: int) -> NeedleText:
    """`rounds` questions of each kind in about `characters` of the books, from a random paragraph on.

    The needles stand at uniformly drawn places, each moved on to the end of a sentence.
    """
    kinds = KINDS * rounds
    names = [f"{adjective}-{noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    keys = iter(random.sample(names, sum(kind.keys for kind in kinds)))
    drawn = [(kind, _needles(random, [next(keys) for _ in range(kind.keys)], kind)) for kind in kinds]
    needles = [needle for _, own in drawn for needle in own]
    random.shuffle(needles)
    around = max(0, characters - sum(len(NEEDLE.format(key=key, value=value)) + 1 for key, value in needles))
    pieces, places = _laid_out(random, passage(random, books, around), needles)
    questions = []
    for kind, own in drawn:
        asked = [key for key in dict.fromkeys(key for key, _ in own)][: kind.asked]
        wanted = [(key, value) for key, value in own if key in asked]
        question = (ONE if len(wanted) == 1 else SEVERAL).format(keys=_listed(asked))
        questions.append(
            Asked(kind.name, question, tuple(value for _, value in wanted), tuple(places[needle] for needle in wanted))
        )
    return NeedleText(tuple(pieces), tuple(questions))


def passage(random: Random, books: str, characters: int) -> str:
    """Running text of the books from a random paragraph on, from their beginning again after their end."""
    if not books.strip():
        raise ValueError("the books hold no text")
    books = books if books.endswith("\n") else books + "\n"
    start = books.find("\n", random.randrange(len(books))) + 1
    first = books[start : start + characters]
    missing = characters - len(first)
    return first + books * (missing // len(books)) + books[: missing % len(books)]


def _needles(random: Random, keys: Sequence[str], kind: Kind) -> list[tuple[str, str]]:
    """Each key with its values, which are different numbers of seven digits."""
    values = iter(random.sample(range(1_000_000, 10_000_000), len(keys) * kind.values))
    return [(key, str(next(values))) for key in keys for _ in range(kind.values)]


def _laid_out(
    random: Random, text: str, needles: Sequence[tuple[str, str]]
) -> tuple[list[str], dict[tuple[str, str], tuple[int, int]]]:
    """The pieces of a text with needles in it, and the place of each in bytes."""
    pieces, size = [OPENING], len(OPENING.encode())
    places = {}
    done = 0
    for drawn, (key, value) in zip(sorted(random.randrange(len(text) + 1) for _ in needles), needles, strict=True):
        end = _SENTENCE_END.search(text, max(drawn, done))
        upto = end.end() if end else len(text)
        before, needle = text[done:upto] + " ", NEEDLE.format(key=key, value=value)
        done = upto
        start = size + len(before.encode())
        size = start + len(needle.encode())
        places[key, value] = (start, size)
        pieces += [before, needle]
    return [*pieces, text[done:]], places


def _listed(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else ", ".join(keys[:-1]) + f", and {keys[-1]}"
