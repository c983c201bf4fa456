"""A simulator of bAbI's stories (Weston et al. 1502.05698), written from their templates.

It knows sentences and answers, and nothing of tokens, books or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

PEOPLE = ("Mary", "John", "Daniel", "Sandra")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
MOVES = ("went to", "journeyed to", "travelled to", "went back to", "moved to")


@dataclass(frozen=True)
class Question:
    """A question and its one right answer."""

    text: str
    answer: str


@dataclass(frozen=True)
class Move:
    """One fact of task 1: somebody went somewhere."""

    person: str
    verb: str
    place: str

    def __str__(self) -> str:
        return f"{self.person} {self.verb} the {self.place}."


def moves(random: Random, count: int) -> list[Move]:
    """A story of task 1: `count` moves, none to where the person is already."""
    story: list[Move] = []
    for _ in range(count):
        person = random.choice(PEOPLE)
        here = whereabouts(story).get(person)
        place = random.choice([place for place in PLACES if place != here])
        story.append(Move(person, random.choice(MOVES), place))
    return story


def whereabouts(story: list[Move]) -> dict[str, str]:
    """Where each person of the story is after it."""
    return {move.person: move.place for move in story}


def questions(story: list[Move]) -> list[Question]:
    """Task 1's question for each person that the story names."""
    return [Question(f"Where is {person}?", place) for person, place in whereabouts(story).items()]
