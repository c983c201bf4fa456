"""A check: a number of cases made from a seed, the counts of a run, and a control that must find violations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Tick = Callable[[int], None]


@dataclass
class Counts:
    """The counts of a run: cases that were run, violations in words, and amounts by name."""

    cases: int = 0
    violations: list[str] = field(default_factory=list)
    amounts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, amount: int = 1) -> None:
        self.amounts[name] = self.amounts.get(name, 0) + amount

    def wrong(self, what: str) -> None:
        self.violations.append(what)


@dataclass(frozen=True)
class Check:
    """`run` runs a number of cases of a seed and reports progress; `control` runs some with the guard removed.

    A control that finds no violation fails: the check could not have found one either.
    """

    name: str
    what: str
    gate_cases: int
    long_cases: int
    run: Callable[[int, int, Tick], Counts]
    control: Callable[[int], Counts]
