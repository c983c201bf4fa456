"""What a check of reliability is: a number of cases made from a seed, counts that add up, and a control that must fail.

It knows no store and no fault.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Tick = Callable[[int], None]


@dataclass
class Counts:
    """What a run counted: cases that were gone through, what was found wrong in words, and amounts by name."""

    cases: int = 0
    violations: list[str] = field(default_factory=list)
    amounts: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, amount: int = 1) -> None:
        self.amounts[name] = self.amounts.get(name, 0) + amount

    def wrong(self, what: str) -> None:
        self.violations.append(what)


@dataclass(frozen=True)
class Check:
    """`run` goes through so many cases of a seed and ticks as it goes; `control` does so with the guard taken out.

    A control that finds nothing wrong is itself wrong: then the check could not have found anything either.
    """

    name: str
    what: str
    gate_cases: int
    long_cases: int
    run: Callable[[int, int, Tick], Counts]
    control: Callable[[int], Counts]
