"""Figures of an examination: panels in a row, of one size and style."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def figure(path: Path, panels: int, y_label: str, width_inches: float = 4.0) -> Iterator[Any]:
    """The axes of `panels` panels beside each other; they are written on leaving, in the format of the suffix."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise RuntimeError("pictures need matplotlib: pip install '.[train]', or leave --picture out") from None
    drawn, axes = pyplot.subplots(1, panels, figsize=(width_inches * panels, 3.2), sharey=True, squeeze=False)
    try:
        yield axes[0]
        axes[0][0].set_ylabel(y_label)
        drawn.tight_layout()
        drawn.savefig(path)
    finally:
        pyplot.close(drawn)
