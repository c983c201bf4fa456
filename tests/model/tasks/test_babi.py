"""The stories of task 1 and their answers, against the rule said another way."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from model.tasks import babi


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_each_person_is_where_the_last_sentence_about_them_says(seed: int, count: int) -> None:
    story = babi.moves(Random(seed), count)
    told = [str(move) for move in story]
    for question in babi.questions(story):
        person = question.text.removeprefix("Where is ").removesuffix("?")
        last = next(sentence for sentence in reversed(told) if sentence.startswith(person))
        assert last.endswith(f"the {question.answer}.")


@given(st.integers(0, 10_000))
def test_nobody_goes_where_they_are(seed: int) -> None:
    story = babi.moves(Random(seed), 20)
    for index, move in enumerate(story):
        assert babi.whereabouts(story[:index]).get(move.person) != move.place
