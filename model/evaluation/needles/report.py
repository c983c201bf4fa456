"""Needles found, by kind and length: a table, JSON with intervals, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.pictures import figure
from model.evaluation.report import length_name
from model.evaluation.scoring import wilson_interval


@dataclass(frozen=True)
class Needle:
    """Whether a row found all the needles of one question in text number `text` of a length."""

    row: str
    length: int
    text: int
    kind: str
    question: str
    found: bool


@dataclass(frozen=True)
class Cell:
    """The questions of one kind that a row was asked at one length."""

    row: str
    kind: str
    length: int
    asked: int
    found: int

    @property
    def share(self) -> float:
        return 100 * self.found / self.asked


def cells(needles: Iterable[Needle]) -> list[Cell]:
    grouped: dict[tuple[str, str, int], list[bool]] = {}
    for needle in needles:
        grouped.setdefault((needle.row, needle.kind, needle.length), []).append(needle.found)
    return [Cell(*key, len(found), sum(found)) for key, found in grouped.items()]


def table(found: Sequence[Cell]) -> str:
    """Markdown: a row for each way and kind, a column a length; percentage of the questions asked."""
    lengths = sorted({cell.length for cell in found})
    lines = ["| | " + " | ".join(map(length_name, lengths)) + " |", "| --- |" + " --- |" * len(lengths)]
    for row, kind in dict.fromkeys((cell.row, cell.kind) for cell in found):
        of_row = {cell.length: cell for cell in found if (cell.row, cell.kind) == (row, kind)}
        shown = [f"{cell.share:.1f} of {cell.asked}" if (cell := of_row.get(n)) else "" for n in lengths]
        lines.append(f"| {row}, {kind} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def as_json(found: Iterable[Cell]) -> list[dict[str, object]]:
    return [
        {
            "row": cell.row,
            "kind": cell.kind,
            "tokens": cell.length,
            "asked": cell.asked,
            "found": cell.found,
            "interval": [round(bound, 4) for bound in wilson_interval(cell.found, cell.asked)],
        }
        for cell in found
    ]


def picture(found: Sequence[Cell], path: Path) -> None:
    """The share found against length, a panel a kind and a line a row."""
    kinds = list(dict.fromkeys(cell.kind for cell in found))
    with figure(path, len(kinds), "all needles found, %", 2.8) as panels:
        for panel, kind in zip(panels, kinds, strict=True):
            for row in dict.fromkeys(cell.row for cell in found):
                of_row = sorted((c.length, c.share) for c in found if (c.row, c.kind) == (row, kind))
                panel.plot([n for n, _ in of_row], [share for _, share in of_row], marker="o", label=row)
            panel.set(xscale="log", title=kind, xlabel="tokens", ylim=(0, 103))
            panel.grid(alpha=0.3)
        panels[0].legend(loc="lower left", fontsize="small")
