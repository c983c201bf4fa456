"""The default weights, made as `make weights` makes them, read texts and answer over HTTP."""

from __future__ import annotations

from pathlib import Path

from testing.replies import appended, asked, created
from testing.serving import Server, client

FACT = "Captain Alder had left his blue coat at the inn. "
PARAGRAPHS = (
    "The harbour lay quiet that morning, and the nets were hung along the quay to dry. ",
    "In the town hall the clerks counted the taxes of the year and found a mistake in the third book. ",
    "A cart with barrels of salt came down the hill, drawn by two old horses that knew the way. ",
    "The schoolmaster read a long letter from his brother, who was building a bridge in the north. ",
)


def test_the_default_weights_find_the_place_in_a_long_text_and_answer_from_a_short_one(default_weights: Path) -> None:
    question = {"question": "What colour was the coat of Captain Alder?", "max_tokens": 16}
    short = "".join((*PARAGRAPHS, FACT, *PARAGRAPHS)).encode()
    long = "".join((*PARAGRAPHS * 20, FACT, *PARAGRAPHS[::-1] * 20)).encode()
    with Server(default_weights, "memory://") as server, client(server) as http:
        for text in (short, long):
            session = created(http)
            appended(http, session, text)
            answer = asked(http, session, **question)
            best = answer["sources"][0]
            assert FACT.strip() in best["text"]
            assert text[best["offset"] : best["offset"] + best["bytes"]].decode() == best["text"]
            # A model of this size answers reliably only from a few sentences.
            if text is short:
                assert "blue" in answer["answer"]
    assert answer["usage"]["memory_tokens"] > 3_000
