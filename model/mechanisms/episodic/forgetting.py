"""Which episodes stay when a memory is full: repeated text goes first, then what is said in the commonest words.

The rule was chosen by measurement (docs/finding.md, `python -m model.evaluation forgetting`).
"""

from __future__ import annotations

import numpy as np

from model.mechanisms.episodic.block import Block
from model.mechanisms.episodic.memory import Episodes
from model.mechanisms.episodic.terms import COUNT_BITS, COUNT_MAX

# Runs of so many tokens are compared; of their hashes only those that this number divides are looked at
# (Broder 1997, On the resemblance and containment of documents).
RUN_TOKENS = 8
SAMPLED = 8
# Terms are counted by the lowest bits of their hashes, of which there are at least so many times more than terms in
# all, up to 22 bits: the few that share a number are counted as one.
NUMBERS_FOR_EACH = 64
NUMBERS_MAX = 1 << 22
_MULTIPLIERS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def keep(episodes: Episodes, count: int, fill: int | None = None) -> np.ndarray:
    """Which episodes (n) to keep so that `count` are left; the newer of two that are worth the same.

    The newest stays: what is read next may go on with its last word. So do those of nothing but `fill`, the token that
    fills up a document: they show where one ends.
    """
    worth = rarity(episodes)
    worth[-1] = np.inf
    if fill is not None:
        worth[np.concatenate([(block.tokens.numpy() == fill).all(axis=1) for block in episodes.blocks])] = np.inf
    order = np.lexsort((np.arange(len(episodes)), worth, ~repeated(episodes, fill)))
    kept = np.zeros(len(episodes), dtype=bool)
    kept[order[len(episodes) - count :]] = True
    return kept


def rarity(episodes: Episodes) -> np.ndarray:
    """The mean of ln(1 + (n - d + 0.5) / (d + 0.5)) over the words of each episode (n); d of them have the word."""
    terms = np.concatenate([np.zeros(0, np.int32), *[block.terms.numpy() for block in episodes.blocks]])
    lengths = np.concatenate([np.diff(block.ends.numpy(), prepend=0) for block in episodes.blocks])
    ends = lengths.cumsum()
    different = min(NUMBERS_MAX, 1 << (NUMBERS_FOR_EACH * len(terms)).bit_length())
    numbers = (terms >> COUNT_BITS) & (different - 1)
    having = np.bincount(numbers, minlength=different)
    weights = np.log1p((len(lengths) - having + 0.5).clip(0) / (having + 0.5)).astype(np.float32)
    times = terms & COUNT_MAX
    total = np.concatenate([[0.0], np.cumsum(weights[numbers] * times, dtype=np.float64)])
    words = np.concatenate([[0], np.cumsum(times, dtype=np.int64)])
    spoken = words[ends] - words[ends - lengths]
    found: np.ndarray = (total[ends] - total[ends - lengths]) / np.maximum(spoken, 1)
    return found


def repeated(episodes: Episodes, fill: int | None = None) -> np.ndarray:
    """Whether newer episodes have at least half of the runs of tokens of each episode (n); none with `fill` counts."""
    hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    before = 0
    for block in episodes.blocks:
        runs = run_hashes(block)
        sampled = runs % np.uint64(SAMPLED) == 0
        if fill is not None:
            # A run begins so many tokens before its last one, which is `fill` if any is.
            sampled &= block.tokens.numpy()[:, block.tokens.shape[1] - runs.shape[1] :] != fill
        rows, columns = np.nonzero(sampled)
        hashes.append(runs[rows, columns])
        owners.append(rows + before)
        before += len(block)
    found, owner = np.concatenate(hashes), np.concatenate(owners)
    order = np.argsort(found, kind="stable")
    found, owner = found[order], owner[order]
    # Equal hashes stand together, their episodes in order: the last one is the newest that has the run.
    last = np.flatnonzero(np.append(found[1:] != found[:-1], True)) if len(found) else np.zeros(0, np.int64)
    newest = np.repeat(owner[last], np.diff(last, prepend=-1))
    runs_of = np.bincount(owner, minlength=before)
    again = np.bincount(owner[newest > owner], minlength=before)
    result: np.ndarray = (again > 0) & (2 * again >= runs_of)
    return result


def run_hashes(block: Block) -> np.ndarray:
    """A hash (n, T - 7) of each eight tokens in a row of each episode; (n, 0) where episodes are shorter."""
    hashes = block.tokens.numpy().astype(np.uint64)
    length = 1
    with np.errstate(over="ignore"):
        for multiplier in _MULTIPLIERS:
            hashes = hashes[:, :-length] * np.uint64(multiplier) + hashes[:, length:]
            hashes = hashes ^ (hashes >> np.uint64(31))
            length *= 2
    return hashes
