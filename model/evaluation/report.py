"""The result of the marks: shares with confidence intervals, as a table and as a plot of recall by length."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.marks import Mark
from model.evaluation.scoring import wilson_interval

# ARMT, one fine-tuned GPT-2 per task, exact match in percent, mean of three runs (2407.04841, tables 1 and 4).
ARMT: dict[str, dict[int, float]] = {
    "qa1": {128_000: 99.9, 1_000_000: 98.5, 10_000_000: 89.4, 50_000_000: 49.6},
    "qa2": {128_000: 99.8, 1_000_000: 99.4, 10_000_000: 84.4},
    "qa3": {128_000: 86.0, 1_000_000: 72.1, 10_000_000: 37.0},
    "qa4": {128_000: 100.0, 1_000_000: 99.8, 10_000_000: 91.5},
    "qa5": {128_000: 98.7, 1_000_000: 97.3, 10_000_000: 80.9},
}


@dataclass(frozen=True)
class Cell:
    """The answers to one task at one length."""

    name: str
    length: int
    asked: int
    exact: int
    lenient: int

    @property
    def share(self) -> float:
        return self.exact / self.asked

    @property
    def interval(self) -> tuple[float, float]:
        return wilson_interval(self.exact, self.asked)


def cells(marks: Iterable[Mark]) -> list[Cell]:
    """One cell for each task and length, in order."""
    grouped: dict[tuple[int, str, int], list[Mark]] = {}
    for mark in marks:
        order = int(mark.name[2:]) if mark.name.startswith("qa") else 99
        grouped.setdefault((order, mark.name, mark.length), []).append(mark)
    return [
        Cell(name, length, len(found), sum(m.exact for m in found), sum(m.lenient for m in found))
        for (_, name, length), found in sorted(grouped.items())
    ]


def as_json(found: Iterable[Cell]) -> list[dict[str, object]]:
    return [
        {
            "task": c.name,
            "length": c.length,
            "asked": c.asked,
            "exact": c.exact,
            "babilong_rule": c.lenient,
            "interval": [round(bound, 4) for bound in c.interval],
            "armt_percent": ARMT.get(c.name, {}).get(c.length),
        }
        for c in found
    ]


def table(found: Iterable[Cell]) -> str:
    """Markdown: a row a task, a column a length; right of asked, the share, and the record in brackets."""
    found = list(found)
    lengths = sorted({cell.length for cell in found})
    lines = ["| | " + " | ".join(map(length_name, lengths)) + " |", "| --- |" + " --- |" * len(lengths)]
    for name in dict.fromkeys(cell.name for cell in found):
        row = {cell.length: cell for cell in found if cell.name == name}
        lines.append(f"| {name} | " + " | ".join(_shown(row.get(length)) for length in lengths) + " |")
    return "\n".join(lines)


def length_name(length: int) -> str:
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if length >= unit:
            return f"{length / unit:g}{name}"
    return f"{length}k" if not length else str(length)


def _shown(cell: Cell | None) -> str:
    if cell is None:
        return ""
    record = ARMT.get(cell.name, {}).get(cell.length)
    beside = "" if record is None else f" ({record:.1f})"
    return f"{100 * cell.share:.1f} of {cell.asked}{beside}"


def picture(found: Iterable[Cell], path: Path) -> None:
    """Recall against length, a panel a task, our intervals and the record beside them; the suffix says the format."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise RuntimeError("pictures need matplotlib: pip install '.[train]', or leave --picture out") from None
    found = [cell for cell in found if cell.length and cell.name.startswith("qa")]
    names = list(dict.fromkeys(cell.name for cell in found))
    figure, axes = pyplot.subplots(1, len(names), figsize=(2.6 * len(names), 2.9), sharey=True, squeeze=False)
    for panel, name in zip(axes[0], names, strict=True):
        ours = [cell for cell in found if cell.name == name]
        shares = [100 * cell.share for cell in ours]
        low = [s - 100 * cell.interval[0] for s, cell in zip(shares, ours, strict=True)]
        high = [100 * cell.interval[1] - s for s, cell in zip(shares, ours, strict=True)]
        # Rounding can put a bound of a full share a hair inside it.
        spread = [[max(0.0, bound) for bound in side] for side in (low, high)]
        panel.errorbar([c.length for c in ours], shares, yerr=spread, marker="o", capsize=3, label="Onceread")
        if record := ARMT.get(name):
            panel.plot(list(record), list(record.values()), marker="s", linestyle="--", color="0.5", label="ARMT")
        panel.set(xscale="log", title=name.upper(), xlabel="tokens", ylim=(0, 103))
        panel.grid(alpha=0.3)
    axes[0][0].set_ylabel("right answers, %")
    axes[0][0].legend(loc="lower left", fontsize="small")
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)
