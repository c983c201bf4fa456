"""SQuAD's own measures of an answer (1606.05250, evaluate-v1.1.py): exact match and F1 after normalisation."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """In lower case, without punctuation and articles, one space between words."""
    return " ".join(_ARTICLES.sub(" ", answer.lower().translate(_PUNCTUATION)).split())


def exact(answer: str, accepted: Sequence[str]) -> bool:
    return any(normalized(answer) == normalized(each) for each in accepted)


def contains(answer: str, accepted: Sequence[str]) -> bool:
    """Whether an accepted answer is in the words of the answer; not one of SQuAD's measures."""
    said = f" {normalized(answer)} "
    return any(f" {normalized(each)} " in said for each in accepted if normalized(each))


def f1(answer: str, accepted: Sequence[str]) -> float:
    """The best F1 of the answer's words with those of an accepted one."""
    return max((_f1(normalized(answer).split(), normalized(each).split()) for each in accepted), default=0.0)


def _f1(said: list[str], wanted: list[str]) -> float:
    common = sum((Counter(said) & Counter(wanted)).values())
    return 2 * common / (len(said) + len(wanted)) if common else 0.0
