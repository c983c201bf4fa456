"""Which episodes stay when a memory is full."""

from __future__ import annotations

import numpy as np

from model.mechanisms.episodic.memory import Episodes


def keep(episodes: Episodes, count: int) -> np.ndarray:
    """Which episodes (n) to keep so that `count` are left: the newest."""
    kept = np.zeros(len(episodes), dtype=bool)
    kept[len(episodes) - count :] = True
    return kept
