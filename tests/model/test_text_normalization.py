"""One form for line ends and spaces."""

import unicodedata
from sys import maxunicode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.text_normalization import LINE_ENDS, SPACES, normalized, normalized_part

TEXTS = st.text(st.sampled_from([*SPACES, *LINE_ENDS, "\r", "\ufeff", "a", "é"]), max_size=40)


def plain_normalized(text: str) -> str:
    """The same in a plain loop: a run of white space is its line ends, or without any a space."""
    done, run = "", ""
    for character in [*text.replace("\ufeff", ""), ""]:
        if character and character in SPACES + LINE_ENDS + "\r":
            run += character
            continue
        ends = sum(run.replace("\r\n", "\n").count(end) for end in LINE_ENDS + "\r")
        done += ("\n" * ends or " " if run else "") + character
        run = ""
    return done


@given(TEXTS)
def test_it_agrees_with_the_plain_loop(text: str) -> None:
    assert normalized(text) == plain_normalized(text)


@given(TEXTS)
def test_it_is_idempotent_and_never_longer(text: str) -> None:
    once = normalized(text)
    assert normalized(once) == once
    assert len(once.encode()) <= len(text.encode())


@given(TEXTS, TEXTS)
def test_parts_behind_the_last_character_make_the_whole(first: str, second: str) -> None:
    part, waiting = normalized_part(first)
    assert part[:-1] + normalized(part[-1:] + waiting + second) == normalized(first + second)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("one\r\ntwo\rthree\nfour", "one\ntwo\nthree\nfour"),
        ("\ufeffThe\u00a0Project  Gutenberg\teBook", "The Project Gutenberg eBook"),
        ("  first \r\n\r\n    second", " first\n\nsecond"),
        ("a page\fand the next", "a page\nand the next"),
        ("plain text\n\nstays", "plain text\n\nstays"),
    ],
)
def test_texts_as_people_have_them(text: str, wanted: str) -> None:
    assert normalized(text) == wanted


def test_all_white_space_of_unicode_is_covered() -> None:
    separators = {chr(n) for n in range(maxunicode + 1) if unicodedata.category(chr(n)) in ("Zs", "Zl", "Zp")}
    assert separators | set("\t\n\v\f\x85") == set(normalizable())


def normalizable() -> list[str]:
    return [chr(n) for n in range(maxunicode + 1) if normalized(f"a{chr(n)}b") in ("a b", "a\nb") and chr(n) != "\r"]
