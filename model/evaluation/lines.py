"""Results as JSON lines, one for each answer, so that an interrupted examination can resume; and their summary."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """The results in a file, each a dataclass of this kind; none if the file is not there."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), 1):
        try:
            found.append(kind(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{path} line {number} is no {kind.__name__.lower()} ({error}); "
                "take that line out, or give another --out"
            ) from None
    return found


def append_lines(path: Path, results: Iterable[Any]) -> None:
    """Adds results, which are dataclasses, to a file in one write."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as lines:
        lines.write("".join(json.dumps(asdict(result)) + "\n" for result in results))


def write_summary(path: Path | None, cells: list[dict[str, object]]) -> None:
    """The table's cells as one JSON file, where one is wanted."""
    if path is not None:
        path.write_text(json.dumps(cells, indent=1) + "\n", encoding="utf-8")
