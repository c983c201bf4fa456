"""The shares of answers found, as a table, as JSON with intervals, and as a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from model.evaluation.finding.ranks import Rank
from model.evaluation.pictures import figure
from model.evaluation.scoring import wilson_interval

AT = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Row:
    """One way to find in one text: how many of the questions asked have their answer among the first k, and read."""

    corpus: str
    tokens: int
    name: str
    asked: int
    among: tuple[int, ...]
    read: int


def rows(ranks: Iterable[Rank]) -> list[Row]:
    """A row for each text and way, in the order in which they were examined."""
    grouped: dict[tuple[str, int, str], list[Rank]] = {}
    for rank in ranks:
        grouped.setdefault(rank.key[:3], []).append(rank)
    return [
        Row(
            *key,
            len(found),
            tuple(sum(rank.rank is not None and rank.rank <= k for rank in found) for k in AT),
            sum(rank.read for rank in found),
        )
        for key, found in grouped.items()
    ]


def table(found: Sequence[Row]) -> str:
    """Markdown, a part for each text: the percentages, and the 95 % interval of what is read again."""
    lines = []
    for corpus, tokens in dict.fromkeys((row.corpus, row.tokens) for row in found):
        of_text = [row for row in found if (row.corpus, row.tokens) == (corpus, tokens)]
        title = f"{corpus}, {tokens:,} tokens, {of_text[0].asked:,} questions"
        lines += ["", f"| {title} | " + " | ".join(f"@{k}" for k in AT) + " | read again |", "| --- |" + " --- |" * 6]
        for row in of_text:
            low, high = wilson_interval(row.read, row.asked)
            shares = " | ".join(f"{100 * count / row.asked:.1f}" for count in row.among)
            lines.append(
                f"| {row.name} | {shares} | {100 * row.read / row.asked:.1f} ({100 * low:.1f} to {100 * high:.1f}) |"
            )
    return "\n".join(lines[1:])


def as_json(found: Iterable[Row]) -> list[dict[str, object]]:
    return [
        {
            "text": row.corpus,
            "tokens": row.tokens,
            "row": row.name,
            "asked": row.asked,
            "among": dict(zip(map(str, AT), row.among, strict=True)),
            "read": row.read,
            "interval": [round(bound, 4) for bound in wilson_interval(row.read, row.asked)],
        }
        for row in found
    ]


def picture(found: Sequence[Row], path: Path) -> None:
    """The share among the first k against k, a panel a text and a line a row."""
    texts = list(dict.fromkeys((row.corpus, row.tokens) for row in found))
    with figure(path, len(texts), "answers found, %") as panels:
        for panel, (corpus, tokens) in zip(panels, texts, strict=True):
            for row in found:
                if (row.corpus, row.tokens) == (corpus, tokens):
                    shares = [100 * count / row.asked for count in row.among]
                    panel.plot(AT, shares, marker="o", label=row.name)
            panel.set(xscale="log", title=f"{corpus}, {tokens:,} tokens", xlabel="episodes read again", xticks=AT)
            panel.set_xticks(AT, [str(k) for k in AT])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
        panels[0].legend(loc="lower right", fontsize="small")
