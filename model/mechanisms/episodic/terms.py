"""The terms by which an episode is found: words in a form that case, accents and common endings do not change.

A term is kept as 28 bits of a hash, with its count in the episode in the 4 bits below. Two words of a text share a
term by chance once in 268 million pairs.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

# Part of what a stored memory depends on: another number for other terms.
VERSION = 1
COUNT_BITS = 4
COUNT_MAX = (1 << COUNT_BITS) - 1
_WORD = re.compile(r"[^\W_]+(?:['’][^\W\d_]+)?")
_CUT_WORD = re.compile(r"[^\W_]+$")
_ENDINGS = ("'s", "’s", "ing", "ed", "es", "s")
_STEM_MIN = 3


def words(text: str) -> list[str]:
    return _WORD.findall(text)


@lru_cache(maxsize=1 << 18)
def term(word: str) -> int:
    """The term of a word, with zero as its count."""
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode() or word
    return (crc32(_stem(plain.lower()).encode()) >> COUNT_BITS) << COUNT_BITS


def _stem(word: str) -> str:
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _STEM_MIN:
            return word[: -len(ending)]
    return word


def joined(before: str, text: str) -> str:
    """A text with the beginning of its first word, where the text before it ends inside that word."""
    cut = _CUT_WORD.search(before) if text[:1].isalnum() else None
    return (cut[0] if cut else "") + text


def counted(text: str) -> list[int]:
    """The different terms of a text, each with its count, in the order in which they come."""
    return [each | min(count, COUNT_MAX) for each, count in Counter(map(term, words(text))).items()]


def as_array(terms: Sequence[int]) -> np.ndarray:
    """Terms as 32 bits each, as they are kept."""
    return np.array(terms, dtype=np.uint32).view(np.int32)
