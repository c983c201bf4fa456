"""Batches of fixed sizes: a shape that comes again gives the same bits again, so that company does not matter.

It knows rows, and nothing of what is in them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)

Row = TypeVar("Row")


def padded(rows: Sequence[Row]) -> list[Row]:
    """The rows and copies of the first, up to the next of the fixed sizes."""
    size = next(size for size in BATCH_SIZES if size >= len(rows))
    return [*rows, *[rows[0]] * (size - len(rows))]
