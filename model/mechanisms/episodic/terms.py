"""The terms by which text is found: words in a form that case, accents and common endings do not change.

A term is kept as 28 bits of a hash, with its count in the episode in the 4 bits below. Two words of a text share a
term by chance once in 268 million pairs. Scripts that put no blanks between words have pairs of characters as terms.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from zlib import crc32

import numpy as np

from model.mechanisms.episodic.stemming import stem

# Part of what a stored memory depends on: another number for other terms.
VERSION = 2
COUNT_BITS = 4
COUNT_MAX = (1 << COUNT_BITS) - 1
# Thai, Lao, Burmese, Khmer, kana, Chinese characters, Hangul.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]+|\d+(?:[.,]\d+)+|[^\W_{_UNSPACED}]+(?:['’][^\W\d_{_UNSPACED}]+)?")
_CUT_WORD = re.compile(rf"[{_UNSPACED}]$|[^\W_{_UNSPACED}]+$")
_RUN = re.compile(f"[{_UNSPACED}]")


def words(text: str) -> tuple[list[str], list[int]]:
    """The words of a text, in order, and for each the character at which it begins."""
    found = [(word[0], word.start()) for word in _WORD.finditer(text)]
    if _RUN.search(text):
        found = [(part, begin + index) for word, begin in found for index, part in enumerate(_parts(word))]
    return [word for word, _ in found], [begin for _, begin in found]


@lru_cache(maxsize=1 << 18)
def term(word: str) -> int:
    """The term of a word, with zero as its count."""
    plain = word.lower().replace("’", "'")
    if not plain.isascii():
        plain = "".join(each for each in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(each))
    return (crc32(stem(plain.replace(",", "")).encode(errors="replace")) >> COUNT_BITS) << COUNT_BITS


def _parts(word: str) -> list[str]:
    """A word itself; of an unspaced run each two characters that follow each other."""
    if len(word) < 3 or not _RUN.match(word):
        return [word]
    return [word[index : index + 2] for index in range(len(word) - 1)]


def joined(before: str, text: str) -> str:
    """A text with the beginning of its first word, where the text before it ends inside that word."""
    cut = _CUT_WORD.search(before) if text[:1].isalnum() else None
    return (cut[0] if cut else "") + text


def counted(text: str) -> list[int]:
    """The different terms of a text, each with its count, in the order in which they come."""
    found = _WORD.findall(text)
    if _RUN.search(text):
        found = [part for word in found for part in _parts(word)]
    return [each | min(count, COUNT_MAX) for each, count in Counter(map(term, found)).items()]


def as_array(terms: Sequence[int]) -> np.ndarray:
    """Terms as 32 bits each, as they are kept."""
    return np.array(terms, dtype=np.uint32).view(np.int32)
