"""The rules of forgetting that are compared, and what each leaves of a text that is longer than the bound."""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import numpy as np

from model.mechanisms.episodic.forgetting import keep, rarity, repeated
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.transformer import KEPT_SHARE

# Which episodes (n) to keep so that `count` are left.
Rule = Callable[[Episodes, int], np.ndarray]


def _by(worth: Callable[[Episodes], np.ndarray]) -> Rule:
    """Keeps the episodes that are worth most, the newer of equal ones."""

    def rule(episodes: Episodes, count: int) -> np.ndarray:
        order = np.lexsort((np.arange(len(episodes)), worth(episodes)))
        kept = np.zeros(len(episodes), dtype=bool)
        kept[order[len(episodes) - count :]] = True
        return kept

    return rule


def _age(episodes: Episodes) -> np.ndarray:
    return np.arange(len(episodes))


def _lot(episodes: Episodes) -> np.ndarray:
    """A number drawn once for each episode, so that old and new ones stay alike."""
    return np.array([crc32(tokens.tobytes()) for tokens in _tokens(episodes)])


def _tokens(episodes: Episodes) -> list[np.ndarray]:
    return [row for block in episodes.blocks for row in block.tokens.numpy()]


def _repeats_first(worth: Callable[[Episodes], np.ndarray]) -> Callable[[Episodes], np.ndarray]:
    return lambda episodes: worth(episodes) - 1e12 * repeated(episodes)


RULES: dict[str, Rule] = {
    "oldest first": _by(_age),
    "at random": _by(_lot),
    "commonest words first": _by(rarity),
    "repeated, then oldest": _by(_repeats_first(_age)),
    "repeated, then commonest words (ours)": keep,
}


def remembered(episodes: Episodes, rule: Rule, limit: int) -> Episodes:
    """What is left of a text's episodes after a memory for `limit` episodes has read them in order."""
    held = np.zeros(0, dtype=np.int64)
    read = 0
    while read < len(episodes):
        if len(held) >= limit:
            held = held[rule(_chosen(episodes, held), int(limit * KEPT_SHARE))]
        upto = min(len(episodes), read + limit - len(held))
        held = np.concatenate([held, np.arange(read, upto)])
        read = upto
    return _chosen(episodes, held)


def _chosen(episodes: Episodes, numbers: np.ndarray) -> Episodes:
    kept = np.zeros(len(episodes), dtype=bool)
    kept[numbers] = True
    return episodes.kept(kept)
