"""Percentiles, and two functions timed in alternation, so that the machine's drift affects both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from tqdm import tqdm


class Comparison(NamedTuple):
    """Medians of two functions timed in alternation; `ratio` is the median of second to first in each turn."""

    first_seconds: float
    second_seconds: float
    ratio: float


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile: always one of the values."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def seconds_of(work: Callable[[], object]) -> float:
    """The duration of `work`, including the device's queue."""
    began = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def in_turn(
    first: Callable[[int], object], second: Callable[[int], object], turns: int, description: str
) -> Comparison:
    """Times both in every turn, in alternating order; each is called with the turn's number."""
    pairs = []
    # Turn -1 warms up and is not counted.
    for turn in tqdm(range(-1, turns), desc=description):
        works = [partial(first, turn), partial(second, turn)]
        pair = [seconds_of(work) for work in (works[::-1] if turn % 2 else works)]
        if turn >= 0:
            pairs.append(pair[::-1] if turn % 2 else pair)
    return Comparison(
        median(pair[0] for pair in pairs), median(pair[1] for pair in pairs), median(s / f for f, s in pairs)
    )
