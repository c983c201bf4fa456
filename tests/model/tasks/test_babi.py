"""bAbI's sentences and rules: stories hold to them, and the rules answer what a second telling of them answers."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.tasks.babi.__main__ import agreement
from model.tasks.babi.files import Example, read_examples, task_file
from model.tasks.babi.stories import EVERYTHING, MANNERS, THINGS, crowded, questions, steps, story
from model.tasks.babi.world import Unanswerable, World

SEEDS = st.integers(0, 100_000)

# Questions of bAbI 1.2 with the facts before them (CC BY 3.0, Weston et al. 2015), one or two of each task.
EXAMPLES = [
    ("Mary moved to the bathroom. John went to the hallway.", "Where is Mary?", "bathroom"),
    (
        "Mary got the milk there. John moved to the bedroom. Sandra went back to the kitchen. "
        "Mary travelled to the hallway.",
        "Where is the milk?",
        "hallway",
    ),
    (
        "Mary moved to the bathroom. Sandra journeyed to the bedroom. Mary got the football there. "
        "John went back to the bedroom. Mary journeyed to the office. John journeyed to the office. "
        "John took the milk. Mary journeyed to the bathroom. Mary dropped the football.",
        "Where was the football before the bathroom?",
        "office",
    ),
    (
        "The office is north of the kitchen. The garden is south of the kitchen.",
        "What is north of the kitchen?",
        "office",
    ),
    (
        "The kitchen is west of the garden. The hallway is west of the kitchen.",
        "What is the garden east of?",
        "kitchen",
    ),
    ("Bill gave the football to Fred. Fred handed the football to Bill.", "Who received the football?", "Bill"),
    ("Jeff took the apple there. Jeff gave the apple to Fred.", "Who did Jeff give the apple to?", "Fred"),
    ("Mary moved to the bathroom. Sandra journeyed to the bedroom.", "Is Sandra in the hallway?", "no"),
    ("John went to the kitchen. Mary took the football there.", "How many objects is Mary carrying?", "one"),
    (
        "Mary got the football there. John went to the bedroom. Mary dropped the football.",
        "What is Mary carrying?",
        "nothing",
    ),
    ("Mary is no longer in the bedroom. Daniel moved to the hallway.", "Is Mary in the bedroom?", "no"),
    ("Bill is either in the kitchen or the park.", "Is Bill in the park?", "maybe"),
]


def world_after(facts: str) -> World:
    world = World()
    for fact in re.findall(r"[^.]+\.", facts):
        world.hear(fact.strip())
    return world


@pytest.mark.parametrize(("facts", "question", "answer"), EXAMPLES)
def test_babis_own_questions(facts: str, question: str, answer: str) -> None:
    assert world_after(facts).answer(question) == answer


@given(SEEDS, st.integers(1, 40))
def test_an_object_is_where_a_second_computation_finds_it(seed: int, count: int) -> None:
    """Tasks 2 and 3 computed again, backwards from the whole list of facts."""
    facts = list(islice(story(Random(seed), MANNERS[3]), count))
    world = world_after(" ".join(facts))
    for thing in THINGS:
        path = places_of(thing, facts)
        if not path:
            continue
        assert world.answer(f"Where is the {thing}?") == path[-1]
        for place in set(path[1:]):
            last = max(i for i in range(1, len(path)) if path[i] == place)
            assert world.answer(f"Where was the {thing} before the {place}?") == path[last - 1]


def places_of(thing: str, facts: list[str]) -> list[str]:
    """Where an object was, one place after another: at each fact, where its last holder was then."""
    path: list[str] = []
    for end in range(1, len(facts) + 1):
        holder = None
        for fact in facts[:end]:
            if re.search(rf" (grabbed|picked up|got|took) the {thing}\b", fact):
                holder = fact.split()[0]
            if re.search(rf" (left|discarded|put down|dropped) the {thing}\b", fact):
                holder = None
        going = [f for f in facts[:end] if holder and re.fullmatch(rf"{holder} .* (to) the \w+\.", f)]
        if going and (not path or path[-1] != going[-1].split()[-1][:-1]):
            path.append(going[-1].split()[-1][:-1])
    return path


@given(SEEDS, st.sampled_from(sorted(MANNERS)), st.booleans())
def test_every_story_is_of_its_tasks_sentences(seed: int, task: int, narrow: bool) -> None:
    random = Random(seed)
    manner = crowded(random, MANNERS[task]) if narrow else MANNERS[task]
    world = World()
    for fact in islice(story(random, manner), 30):
        world.hear(fact)
    for question, answer in questions(task, world, manner):
        assert world.answer(question) == answer


@given(SEEDS)
def test_people_move_to_other_rooms_and_take_objects_in_their_own(seed: int) -> None:
    world, lies = World(), dict[str, str]()
    for fact in islice(story(Random(seed), EVERYTHING), 40):
        person = fact.split()[0]
        if " to the " in fact and "is" not in fact.split():
            assert world.place.get(person) != fact.split()[-1][:-1]
        if taken := re.search(r"(?:grabbed|picked up|got|took) the (\w+)", fact):
            assert lies.get(taken[1], world.place[person]) == world.place[person]
            assert taken[1] not in world.carrier
        world.hear(fact)
        lies |= {thing: world.place[carrier] for thing, carrier in world.carrier.items()}


def test_a_story_ends_when_all_places_have_their_relations() -> None:
    facts = list(story(Random(1), MANNERS[4]))
    assert 1 <= len(facts) <= 5


def test_steps_lead_to_the_second_and_third_task() -> None:
    world = world_after("John went to the garden. John took the milk. John moved to the office.")
    assert steps(world) == [("Who got the milk?", "John"), ("Where was John before the office?", "garden")]


@pytest.mark.parametrize("question", ["Where is Mary?", "Who gave the apple?", "Why is Mary?"])
def test_questions_without_a_fact_have_no_answer(question: str) -> None:
    with pytest.raises(Unanswerable):
        World().answer(question)
    with pytest.raises(ValueError, match="not a sentence"):
        World().hear("It rained.")
    with pytest.raises(ValueError, match="not among 1 to 10"):
        questions(11, World(), EVERYTHING)


def test_a_file_gives_each_question_with_all_facts_before_it(tmp_path: Path) -> None:
    lines = "1 Mary moved to the bathroom.\n2 Where is Mary? \tbathroom\t1\n3 John went to the hallway.\n"
    (tmp_path / "qa1_one_test.txt").write_text(lines + "4 Where is John? \thallway\t3\n1 Mary went to the office.\n")
    assert list(read_examples(task_file(tmp_path, 1, "test"))) == [
        Example(("Mary moved to the bathroom.",), "Where is Mary?", "bathroom"),
        Example(("Mary moved to the bathroom.", "John went to the hallway."), "Where is John?", "hallway"),
    ]
    assert agreement(task_file(tmp_path, 1, "test")) == (2, 2)
    (tmp_path / "qa1_one_test.txt").write_text("1 Mary moved to the bathroom.\n2 Where is Mary? \thall\t1\n")
    assert agreement(task_file(tmp_path, 1, "test")) == (0, 1)
    with pytest.raises(FileNotFoundError, match="en-10k"):
        task_file(tmp_path, 2, "test")
    (tmp_path / "qa2_two_test.txt").write_text("1 Mary moved.\nno number\n")
    with pytest.raises(ValueError, match="line 2"):
        list(read_examples(tmp_path / "qa2_two_test.txt"))
