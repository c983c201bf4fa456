"""Recall against the length of a text in multiples of the bound, by rule: a table, JSON and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.pictures import figure
from model.evaluation.scoring import wilson_interval

QUARTERS = 4


@dataclass(frozen=True)
class Remembered:
    """A question about a text of `times` the bound: whether its place is still kept, and whether it is read again.

    `place` is where in the text the answer stands first, from 0 to 1.
    """

    corpus: str
    tokens: int
    times: int
    rule: str
    number: int
    question: str
    place: float
    kept: bool
    read: bool


@dataclass(frozen=True)
class Cell:
    """The questions about one text, length and rule; `quarters` are the shares read by where the answer stands."""

    corpus: str
    tokens: int
    times: int
    rule: str
    asked: int
    kept: int
    read: int
    quarters: tuple[float, ...]


def cells(results: Iterable[Remembered]) -> list[Cell]:
    grouped: dict[tuple[str, int, int, str], list[Remembered]] = {}
    for result in results:
        grouped.setdefault((result.corpus, result.tokens, result.times, result.rule), []).append(result)
    return [
        Cell(*key, len(found), sum(r.kept for r in found), sum(r.read for r in found), _quarters(found))
        for key, found in grouped.items()
    ]


def _quarters(found: Sequence[Remembered]) -> tuple[float, ...]:
    shares = []
    for quarter in range(QUARTERS):
        own = [r.read for r in found if quarter <= r.place * QUARTERS < quarter + 1]
        shares.append(sum(own) / max(1, len(own)))
    return tuple(shares)


def table(found: Sequence[Cell]) -> str:
    """Markdown, a part a text: percentages read again, and in brackets still kept."""
    lines = []
    for corpus, tokens in dict.fromkeys((cell.corpus, cell.tokens) for cell in found):
        own = [cell for cell in found if (cell.corpus, cell.tokens) == (corpus, tokens)]
        times = sorted({cell.times for cell in own})
        heads = [f"{n} times the bound" if n > 1 else "all kept" for n in times]
        lines += ["", f"| {corpus}, {tokens:,} tokens, {own[0].asked:,} questions | " + " | ".join(heads) + " |"]
        lines.append("| --- |" + " --- |" * len(times))
        for rule in dict.fromkeys(cell.rule for cell in own):
            row = {cell.times: cell for cell in own if cell.rule == rule}
            shown = [f"{100 * row[n].read / row[n].asked:.1f} ({100 * row[n].kept / row[n].asked:.1f})" for n in times]
            lines.append(f"| {rule} | " + " | ".join(shown) + " |")
    return "\n".join(lines[1:])


def as_json(found: Iterable[Cell]) -> list[dict[str, object]]:
    return [
        {
            "text": cell.corpus,
            "tokens": cell.tokens,
            "times_the_bound": cell.times,
            "rule": cell.rule,
            "asked": cell.asked,
            "kept": cell.kept,
            "read": cell.read,
            "interval": [round(bound, 4) for bound in wilson_interval(cell.read, cell.asked)],
            "read_by_quarter_of_the_text": [round(share, 3) for share in cell.quarters],
        }
        for cell in found
    ]


def picture(found: Sequence[Cell], path: Path) -> None:
    """The share read again against the length in multiples of the bound, a panel a text and a line a rule."""
    texts = list(dict.fromkeys(cell.corpus for cell in found))
    with figure(path, len(texts), "answers found, %") as panels:
        for panel, corpus in zip(panels, texts, strict=True):
            times = sorted({cell.times for cell in found})
            for rule in dict.fromkeys(cell.rule for cell in found):
                own = sorted((c.times, 100 * c.read / c.asked) for c in found if (c.corpus, c.rule) == (corpus, rule))
                panel.plot([n for n, _ in own], [share for _, share in own], marker="o", label=rule)
            panel.set(xscale="log", title=corpus, xlabel="length of the text, times the bound", ylim=(0, 103))
            panel.set_xticks(times, [str(n) for n in times])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        panels[0].legend(loc="lower left", fontsize="x-small")
