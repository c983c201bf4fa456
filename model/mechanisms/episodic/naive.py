"""The finding in plain loops over lists, as its papers write it: what `scanning` and `rescoring` are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log

from model.mechanisms.episodic.rescoring import SCALES, WINDOW_TOKENS
from model.mechanisms.episodic.scanning import K1, NEIGHBOUR, B


def rarity(counts: Sequence[dict[int, int]], terms: Sequence[int]) -> list[float]:
    """The weight of each term, from what each episode has how often."""
    weights = []
    for term in terms:
        present = sum(term in episode for episode in counts)
        weights.append(log(1 + (len(counts) - present + 0.5) / (present + 0.5)) if present else 0.0)
    return weights


def bm25(counts: Sequence[dict[int, int]], terms: Sequence[int]) -> list[float]:
    """The score of each episode, without its neighbours'."""
    mean = max(1.0, sum(len(episode) for episode in counts) / len(counts))
    scores = []
    for episode in counts:
        score = 0.0
        for term, weight in zip(terms, rarity(counts, terms), strict=True):
            count = episode.get(term, 0)
            score += weight * count * (K1 + 1) / (count + K1 * (1 - B + B * len(episode) / mean))
        scores.append(score)
    return scores


def smoothed(scores: Sequence[float]) -> list[float]:
    whole = [0.0, *scores, 0.0]
    return [
        own + NEIGHBOUR * max(before, behind) for before, own, behind in zip(whole, scores, whole[2:], strict=False)
    ]


def features(begin: int, end: int, places: Sequence[Sequence[int]], idf: Sequence[float]) -> list[float]:
    """The features of one sentence of the tokens from `begin` to `end`, in the order of `rescoring.WEIGHTS`."""
    near = [0.0] * len(SCALES)
    around = covered = 0.0
    middle = (begin + end) // 2
    for tokens, weight in zip(places, idf, strict=True):
        distances = [max(begin - token, token - end + 1, 0) for token in tokens]
        for number, scale in enumerate(SCALES):
            near[number] += weight * max((exp(-distance / scale) for distance in distances), default=0.0)
        close = sum(middle - WINDOW_TOKENS <= token < middle + WINDOW_TOKENS for token in tokens)
        around += weight * (K1 + 1) * close / (close + K1)
        covered += weight * any(begin <= token < end for token in tokens)
    return [*near, around, covered / max(sum(idf), 1e-9)]
