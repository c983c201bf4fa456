"""How well each sentence of the candidates matches a question: by its words and those around it, near and far.

A term counts for a sentence by the distance to its nearest place, at several scales: kin of the positional language
models of Lv and Zhai 2009. Features are summed with weights that were learned from FairytaleQA's training stories and
17 articles of SQuAD (LOG.md).
"""

from __future__ import annotations

import numpy as np

from model.mechanisms.episodic.passages import Passages
from model.mechanisms.episodic.scanning import K1

# Scales in tokens: a paragraph, a page, a section.
SCALES = (80, 200, 1300)
WINDOW_TOKENS = 80
# What a term near by is worth at each scale, how often it stands in the window around, and the share of the
# question's terms in the sentence itself.
WEIGHTS = np.array([0.16, 0.50, 0.29, 0.13, 3.12])
# A question about the latest prefers of two places the later, by this much from one end of the text to the other.
LATEST = 2.0
_FAR = 1 << 40


def features(passages: Passages, places: list[np.ndarray], idf: np.ndarray) -> np.ndarray:
    """The features (S, F) of each sentence.

    places: for each term of the question, in rising order, the tokens at which it is known to stand in the text,
    outside of the passages too; idf (terms) is its weight.
    """
    begin, end = passages.begin, passages.end
    found = np.zeros((len(begin), len(SCALES) + 2))
    middle = (begin + end) // 2
    for at, weight in zip(places, idf, strict=True):
        first, last = np.searchsorted(at, begin), np.searchsorted(at, end)
        padded = np.concatenate([[-_FAR], at, [_FAR]])
        distance = np.where(last > first, 0, np.minimum(begin - padded[first], padded[last + 1] - end + 1))
        for column, scale in enumerate(SCALES):
            found[:, column] += weight * np.exp(-distance / scale)
        around = np.searchsorted(at, middle + WINDOW_TOKENS) - np.searchsorted(at, middle - WINDOW_TOKENS)
        found[:, -2] += weight * (K1 + 1) * around / (around + K1)
        found[:, -1] += weight * (last > first) / max(idf.sum(), 1e-9)
    return found


def scored(found: np.ndarray, age: np.ndarray, latest: bool) -> np.ndarray:
    """The scores (S) of sentences with these features (S, F) that stand at these shares (S) of the text."""
    scores: np.ndarray = found @ WEIGHTS
    return scores + LATEST * age if latest else scores
