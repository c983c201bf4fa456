"""Fair shares between tenants: whose work comes next, and how much of a limit each may use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Generic, Protocol, TypeVar


class Owned(Protocol):
    @property
    def tenant(self) -> str: ...


Work = TypeVar("Work", bound=Owned)


class FairQueue(Generic[Work]):
    """Work in the order in which it came, from the tenants in turn: deficit round robin (Shreedhar, Varghese 1996).

    In its turn a tenant is credited with `quantum`, and work is taken that its credit pays for. While a tenant i always
    has more than is taken, for what it is served (S) and what any other tenant j is, in any stretch of turns:
    S_j - S_i <= quantum + 2 * cost_max.
    """

    def __init__(self, quantum: float, cost: Callable[[Work], float]) -> None:
        self._quantum, self._cost = quantum, cost
        self._queued: dict[str, dict[Work, None]] = {}
        # The tenant whose turn it is comes first. A tenant with nothing to take loses its credit and its turn.
        self._credit: dict[str, float] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queued.values()))

    def __iter__(self) -> Iterator[Work]:
        return chain.from_iterable(self._queued.values())

    def __contains__(self, work: Work) -> bool:
        return work in self._queued.get(work.tenant, {})

    @property
    def counts(self) -> dict[str, int]:
        """How much work each tenant has queued."""
        return {tenant: len(works) for tenant, works in self._queued.items()}

    def add(self, work: Work) -> None:
        """Puts the work behind its tenant's other work."""
        self._queued.setdefault(work.tenant, {})[work] = None

    def discard(self, work: Work) -> bool:
        """Removes the work; False when it was not queued."""
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
                self._credit.setdefault(tenant, self._quantum)
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
                self._credit[tenant] = credit + self._quantum
        return taken


def _first(works: Iterable[Work], places: Mapping[str, int] | None, tenant: str) -> Iterable[Work]:
    return works if places is None else islice(works, max(0, places.get(tenant, 0)))


def shares(limit: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Parts of the limit, max-min fair: what one tenant does not want is shared among the others; rounded up."""
    left, level = limit, 0
    for served, tenant in enumerate(sorted(wanted, key=wanted.__getitem__)):
        level = -(-left // (len(wanted) - served))
        if wanted[tenant] * (len(wanted) - served) > left:
            break
        left -= wanted[tenant]
    return {tenant: min(wanted[tenant], level) for tenant in wanted}


def has_room(limit: int, used: Mapping[str, int], tenant: str, more: int = 1) -> bool:
    """Whether a tenant may use more: while the limit is not reached, and beyond it up to the tenant's share.

    So a tenant that fills the limit shuts no other out; that with the k-th most has at most limit / k, rounded up.
    """
    if sum(used.values()) + more <= limit:
        return True
    wanted = used.get(tenant, 0) + more
    return wanted <= shares(limit, {**used, tenant: wanted})[tenant]
