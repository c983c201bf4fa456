"""Fair shares between tenants: whose work comes next, and how much of a limit each may use.

Pure: it knows tenants and what their work costs, and nothing of what the work is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from math import ceil, inf
from typing import Generic, Protocol, TypeVar

WEIGHT_MIN = 0.01


class Owned(Protocol):
    @property
    def tenant(self) -> str: ...


Work = TypeVar("Work", bound=Owned)


class Weights:
    """What each tenant's share is measured by; 1 for all that are not named."""

    def __init__(self, named: Mapping[str, float] | None = None) -> None:
        self._named = dict(named or {})
        if light := [tenant for tenant, weight in self._named.items() if not WEIGHT_MIN <= weight < inf]:
            raise ValueError(f"a weight is at least {WEIGHT_MIN}; change that of {', '.join(light)}")

    def __getitem__(self, tenant: str) -> float:
        return self._named.get(tenant, 1.0)


EQUAL = Weights()


class FairQueue(Generic[Work]):
    """Work in the order in which it came, from the tenants in turn: deficit round robin (Shreedhar, Varghese 1996).

    In its turn a tenant is credited with `quantum` times its weight, and work is taken that its credit pays for. While
    a tenant i always has more than is taken, for what it is served (S) and what any other tenant j is, in any stretch
    of turns: S_j / w_j - S_i / w_i <= quantum + cost_max * (1 / w_i + 1 / w_j).
    """

    def __init__(self, quantum: float, cost: Callable[[Work], float], weights: Weights = EQUAL) -> None:
        self._quantum, self._cost, self._weights = quantum, cost, weights
        self._queued: dict[str, dict[Work, None]] = {}
        # Whose turn it is comes first. Who has nothing to take loses its credit and its place.
        self._credit: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queued.values()))

    def __iter__(self) -> Iterator[Work]:
        return chain.from_iterable(self._queued.values())

    def __contains__(self, work: Work) -> bool:
        return work in self._queued.get(work.tenant, {})

    @property
    def counts(self) -> dict[str, int]:
        """How much work each tenant has here."""
        return {tenant: len(works) for tenant, works in self._queued.items()}

    def add(self, work: Work) -> None:
        """Puts the work behind its tenant's other work."""
        self._queued.setdefault(work.tenant, {})[work] = None

    def discard(self, work: Work) -> bool:
        """Takes the work out for good; False when it was not here."""
        if work not in self:
            return False
        del self._queued[work.tenant][work]
        if not self._queued[work.tenant]:
            del self._queued[work.tenant]
        return True

    def turn(self, budget: float, places: Mapping[str, int] | None = None, overdraw: bool = False) -> list[Work]:
        """The work that comes next within the budget, each piece once; it stays here until it is discarded.

        At most `places` of a tenant's are taken. With `overdraw` the first is taken whatever it costs.
        """
        left = {tenant: deque(_first(works, places, tenant)) for tenant, works in self._queued.items()}
        self._credit = {tenant: credit for tenant, credit in self._credit.items() if left.get(tenant)}
        for tenant in left:
            if left[tenant]:
                self._credit.setdefault(tenant, self._earned(tenant))
        taken: list[Work] = []
        while self._credit:
            tenant = next(iter(self._credit))
            works = left[tenant]
            while works and (cost := self._cost(works[0])) <= self._credit[tenant]:
                if cost > budget and (taken or not overdraw):
                    # The turn goes on from here the next time: nothing smaller overtakes.
                    return taken
                budget -= cost
                self._credit[tenant] -= cost
                taken.append(works.popleft())
            credit = self._credit.pop(tenant)
            if works:
                self._credit[tenant] = credit + self._earned(tenant)
        return taken

    def _earned(self, tenant: str) -> float:
        return self._quantum * self._weights[tenant]


def _first(works: Iterable[Work], places: Mapping[str, int] | None, tenant: str) -> Iterable[Work]:
    return works if places is None else islice(works, max(0, places.get(tenant, 0)))


def shares(limit: int, wanted: Mapping[str, int], weights: Weights = EQUAL) -> dict[str, int]:
    """Parts of the limit, max-min fair: what one does not want is shared out among the others; rounded up."""
    level, left, weight = inf, float(limit), sum(weights[tenant] for tenant in wanted)
    for tenant in sorted(wanted, key=lambda tenant: wanted[tenant] / weights[tenant]):
        level = left / weight
        if wanted[tenant] > level * weights[tenant]:
            break
        left -= wanted[tenant]
        weight -= weights[tenant]
    # What adding up fractions has lost must not make the next whole number of it.
    return {tenant: min(wanted[tenant], ceil(round(level * weights[tenant], 6))) for tenant in wanted}


def has_room(limit: int, used: Mapping[str, int], tenant: str, more: int = 1) -> bool:
    """Whether a tenant may use more: while the limit is not reached, and beyond it up to the tenant's share.

    So one who fills it shuts nobody out. Of equal tenants the one with the k-th most has at most limit / k, rounded up.
    """
    if sum(used.values()) + more <= limit:
        return True
    wanted = used.get(tenant, 0) + more
    return wanted <= shares(limit, {**used, tenant: wanted})[tenant]
