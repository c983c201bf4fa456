"""The list of a text's documents: what it says of each byte, and what is refused of a stored one."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import documents
from model.documents import Document, UnsoundDocuments
from server.store import base

PARTS = (Document("a", 2, 3, 1), Document("", 5, 2, 2), Document("第/1", 7, 1, 0), Document("a", 8, 4, 3))
DAMAGES: dict[str, object] = {
    "no list": {"a": 1},
    "no parts": [1],
    "a part without a size": [["a", 2, 3]],
    "a number as a name": [[1, 2, 10, 1]],
    "a float": [["a", 2.0, 10, 1]],
    "true": [["a", 2, 10, True]],
    "a name with a control character": [["a\n", 2, 10, 1]],
    "a long name": [["a" * 513, 2, 10, 1]],
    "a gap": [["a", 2, 3, 1], ["b", 6, 6, 1]],
    "an overlap": [["a", 2, 5, 1], ["b", 6, 6, 1]],
    "before the text": [["a", -1, 13, 1]],
    "beyond the text": [["a", 2, 11, 1]],
    "an empty part": [["a", 2, 10, 1], ["b", 12, 0, 0]],
    "the same name twice": [["a", 2, 3, 1], ["a", 5, 7, 1]],
    "tokens below none": [["a", 2, 10, -1]],
    "more tokens than the text": [["a", 2, 3, 5], ["b", 5, 7, 5]],
    "too many": [[f"{number % 2}", number, 1, 0] for number in range(documents.DOCUMENTS_MAX + 1)],
}


def test_the_store_and_the_model_agree_on_how_many_there_may_be() -> None:
    assert documents.DOCUMENTS_MAX == base.DOCUMENTS_MAX


def test_a_list_decodes_to_what_was_encoded() -> None:
    assert documents.decode(documents.encode(PARTS), 12, 9) == PARTS
    assert documents.decode("[]", 12, 9) == ()


@pytest.mark.parametrize("name", DAMAGES)
def test_a_list_that_no_text_has_is_refused(name: str) -> None:
    size = documents.DOCUMENTS_MAX + 1 if name == "too many" else 12
    with pytest.raises(UnsoundDocuments):
        documents.decode(json.dumps(DAMAGES[name]), size, 9)


@pytest.mark.parametrize("text", ["", "[", "[" * 100_000, '[["\\ud800", 2, 10, 1]]'])
def test_what_is_not_json_or_no_text_is_refused(text: str) -> None:
    with pytest.raises(UnsoundDocuments):
        documents.decode(text, 12, 9)


@given(st.integers(-1, 13))
def test_a_byte_belongs_to_the_part_that_it_lies_in(offset: int) -> None:
    assert (
        documents.named_at(PARTS, offset)
        == ([None] * 2 + ["a"] * 3 + [None] * 2 + ["第/1"] + ["a"] * 4 + [None] * 2)[offset]
    )


@given(st.integers(-1, 13))
def test_the_part_of_a_byte_ends_where_the_next_one_begins(offset: int) -> None:
    assert documents.end_at(PARTS, offset) == ([2] * 3 + [5] * 3 + [7] * 2 + [8] + [None] * 6)[offset + 1]
    assert documents.end_at((), offset) is None


def test_a_document_is_listed_once_with_all_of_its_parts() -> None:
    assert documents.listed(PARTS) == [Document("a", 2, 7, 4), Document("第/1", 7, 1, 0)]


def test_text_that_is_read_belongs_to_the_last_document() -> None:
    assert documents.grown((), 3, 1) == ()
    assert documents.grown(PARTS, 3, 1) == (*PARTS[:-1], Document("a", 8, 7, 4))
