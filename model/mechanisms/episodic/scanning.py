"""Where in a memory the terms of a question stand, and what its episodes are worth by them: BM25.

Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework. There is no index: a memory is scanned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.terms import COUNT_MAX, as_array

K1, B = 0.9, 0.4
NEIGHBOUR = 0.5


class Hits(NamedTuple):
    """Where wanted terms were found, in the text's order: episode (m), which term (m), how often it is there (m).

    lengths (n) are the numbers of different terms of all episodes.
    """

    episode: np.ndarray
    term: np.ndarray
    counts: np.ndarray
    lengths: np.ndarray


def scan(episodes: Episodes, terms: Sequence[int]) -> Hits:
    """All places of different terms; about 2 ms for each million tokens that were read."""
    wanted = as_array(terms).view(np.uint32)
    order = np.argsort(wanted)
    keys = wanted[order]
    # Most terms of a text are ruled out by the upper half of their hash.
    table = np.zeros(1 << 16, dtype=bool)
    table[keys >> 16] = True
    parts, before = list[tuple[np.ndarray, np.ndarray, np.ndarray]](), 0
    for block in episodes.blocks:
        own, ends = block.terms.numpy().view(np.uint32), block.ends.numpy()
        at = np.flatnonzero(table[own >> 16])
        some = own[at]
        which = np.searchsorted(keys, some & ~np.uint32(COUNT_MAX)).clip(max=len(keys) - 1)
        same = keys[which] == some & ~np.uint32(COUNT_MAX)
        at, some, which = at[same], some[same], which[same]
        parts.append((before + np.searchsorted(ends, at, side="right"), order[which], some & COUNT_MAX))
        before += len(block)
    lengths = np.concatenate([np.diff(block.ends.numpy(), prepend=0) for block in episodes.blocks])
    episode, term, counts = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Hits(episode, term, counts, lengths)


def rarity(hits: Hits, terms: int) -> np.ndarray:
    """The weight (terms) of each term: how few episodes have it; zero for one that no episode has."""
    present = np.bincount(hits.term, minlength=terms)
    return idf(present, len(hits.lengths)) * (present > 0)


def idf(present: np.ndarray, episodes: int) -> np.ndarray:
    """The weight of terms that so many of the episodes have."""
    found: np.ndarray = np.log(1 + (episodes - present + 0.5) / (present + 0.5))
    return found


def bm25(hits: Hits, weights: np.ndarray) -> np.ndarray:
    """The score (n) of each episode."""
    norm = K1 * (1 - B + B * hits.lengths / max(1, hits.lengths.mean()))
    worth = weights[hits.term] * hits.counts * (K1 + 1) / (hits.counts + norm[hits.episode])
    return np.bincount(hits.episode, weights=worth, minlength=len(hits.lengths))


def smoothed(scores: np.ndarray) -> np.ndarray:
    """Each score with half of its better neighbour's."""
    beside = np.pad(scores, 1)
    found: np.ndarray = scores + NEIGHBOUR * np.maximum(beside[:-2], beside[2:])
    return found
