"""Rows that fail alone: work on several rows that raises is done again in halves, until each culprit is by itself.

A row is what a step does for one piece of work: the prefill of an answer, one token of an answer, or the next segments
of a read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")
Made = TypeVar("Made")

log = logging.getLogger(__name__)


def isolated(
    compute: Callable[[Sequence[Row]], Sequence[Made]], rows: Sequence[Row], fail: Callable[[Row, Exception], object]
) -> dict[Row, Made]:
    """What `compute` makes of each row, without those for which it raises by themselves: `fail` is called for these.

    Where `compute` raises it must leave everything as it was, since it is called again with half of the rows. With one
    culprit among n rows there are about 2 log n further calls; where every row raises, 2n in all.
    """
    if not rows:
        return {}
    try:
        return dict(zip(rows, compute(rows), strict=True))
    except Exception as error:
        if len(rows) == 1:
            log.error("a row of a step failed by itself: %s", rows[0], exc_info=error)
            # Its frames hold tensors.
            fail(rows[0], error.with_traceback(None))
            return {}
        log.warning("%d rows of a step failed together and are computed in halves: %s", len(rows), error)
    # Outside of the `except`, so that nothing of the failed attempt is held in memory meanwhile.
    half = len(rows) // 2
    return isolated(compute, rows[:half], fail) | isolated(compute, rows[half:], fail)
