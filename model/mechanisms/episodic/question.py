"""What a question asks for: the words to look for, and whether the latest place is wanted."""

from __future__ import annotations

import re
from typing import NamedTuple

from model.mechanisms.episodic.terms import term, words

# Words that say nothing about a place. A question of nothing else is looked for with all its words.
_FUNCTION_WORDS = frozenset(
    "a an the of in on at to for from by with and or but as is are was were be been being do does did has have had "
    "what which who whom whose when where why how that this these those it its he his him she her they their them "
    "there i you we me us our your not s t if than then into about many much can could would should will shall may "
    "please tell summarize summarise summary text document passage above".split()
)
_LATEST = re.compile(r"\b(?:now|last|latest|lately|current|currently|recent|recently|finally|newest|today)\b", re.I)


class Question(NamedTuple):
    """Different terms to look for, and which of them are names or numbers.

    specific: some of its words are more than function words. latest: the last of several places is wanted.
    """

    terms: tuple[int, ...]
    names: tuple[bool, ...]
    specific: bool
    latest: bool


def parsed(question: str) -> Question:
    texts, begins = words(question)
    content = [place for place, text in enumerate(texts) if text.lower() not in _FUNCTION_WORDS]
    names: dict[int, bool] = {}
    for place in content or range(len(texts)):
        text = texts[place]
        # The first word of a question has a capital whatever it is.
        name = text[0].isdigit() or (begins[place] > 0 and text[0].isupper())
        names[term(text)] = names.get(term(text), False) or name
    return Question(tuple(names), tuple(names.values()), bool(content), _LATEST.search(question) is not None)
