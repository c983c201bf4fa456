"""Figures with their goals, as a table and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Goal:
    """A bound on a figure."""

    bound: Literal["at most", "at least"]
    limit: float

    def met(self, value: float) -> bool:
        return value <= self.limit if self.bound == "at most" else value >= self.limit

    def __str__(self) -> str:
        return f"{self.bound} {self.limit:g}"


@dataclass(frozen=True)
class Figure:
    """One measured value; the last word of its name is its unit."""

    name: str
    value: float
    goal: Goal | None = None

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.goal.met(self.value)


@dataclass(frozen=True)
class Section:
    """The figures of one measurement, and the claim that they support or refute."""

    name: str
    claim: str
    figures: tuple[Figure, ...]


def unmet(sections: Iterable[Section]) -> list[str]:
    """A line for each goal that was not met."""
    return [
        f"not met: {section.name}: {figure.name} is {_short(figure.value)}, the goal is {figure.goal}"
        for section in sections
        for figure in section.figures
        if figure.met is False
    ]


def as_table(sections: Iterable[Section]) -> str:
    """Each section's claim with its figures below, in columns of one width."""
    sections = list(sections)
    width = max((len(figure.name) for section in sections for figure in section.figures), default=0)
    lines = []
    for section in sections:
        lines += ["", f"{section.name}: {section.claim}"]
        for figure in section.figures:
            verdict = {None: "", True: f"{figure.goal}: met", False: f"{figure.goal}: NOT MET"}[figure.met]
            lines.append(f"  {figure.name:<{width}}  {_short(figure.value):>14}  {verdict}".rstrip())
    return "\n".join(lines[1:])


def as_json(header: Mapping[str, Any], sections: Iterable[Section]) -> str:
    """The header's entries, then every section by name."""
    measured = {
        section.name: {
            "claim": section.claim,
            "figures": {
                figure.name: {
                    "value": figure.value,
                    "goal": None if figure.goal is None else str(figure.goal),
                    "met": figure.met,
                }
                for figure in section.figures
            },
        }
        for section in sections
    }
    return json.dumps({**header, "sections": measured}, indent=2) + "\n"


def _short(value: float) -> str:
    """Large numbers with separators, others with four significant digits."""
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
