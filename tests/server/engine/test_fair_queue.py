"""Shares between tenants: the bound of deficit round robin over any arrivals, and parts of a limit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from server.engine.fair_queue import FairQueue, has_room, shares

QUANTUM, COST_MAX = 8, 20
TENANTS = ("a", "b", "c", "d")


@dataclass(eq=False)
class Piece:
    tenant: str
    cost: int


@dataclass(frozen=True)
class Turn:
    """What was served to each tenant in a turn, and the tenants that were left with more."""

    served: dict[str, int]
    left: set[str]


pieces = st.builds(Piece, st.sampled_from(TENANTS), st.integers(1, COST_MAX))
# What comes, how much may be taken, and whether it comes again, as the next token of the same answer does.
arrivals = st.lists(st.tuples(st.lists(pieces, max_size=12), st.integers(0, 60), st.booleans()), max_size=30)


def fair_queue() -> FairQueue[Piece]:
    return FairQueue[Piece](QUANTUM, lambda piece: piece.cost)


def sums(pieces: list[Piece]) -> dict[str, int]:
    return {tenant: sum(piece.cost for piece in pieces if piece.tenant == tenant) for tenant in TENANTS}


@given(arrivals, st.booleans())
def test_a_tenant_that_always_has_more_gets_its_share_but_for_a_constant(
    pattern: list[tuple[list[Piece], int, bool]], overdraw: bool
) -> None:
    queue, turns = fair_queue(), list[Turn]()
    held = list[Piece]()
    for arriving, budget, again in pattern:
        held += arriving
        for piece in arriving:
            queue.add(piece)
        taken = queue.turn(budget, overdraw=overdraw)
        assert len(set(taken)) == len(taken)
        assert sum(piece.cost for piece in taken) <= budget or (overdraw and len(taken) == 1)
        turns.append(Turn(sums(taken), {piece.tenant for piece in held if piece not in taken}))
        if not again:
            for piece in taken:
                held.remove(piece)
                queue.discard(piece)
    for behind in TENANTS:
        for first in range(len(turns)):
            served = Counter[str]()
            for turn in turns[first:]:
                if behind not in turn.left:
                    break
                served.update(turn.served)
                for tenant in TENANTS:
                    assert served[tenant] - served[behind] <= QUANTUM + 2 * COST_MAX


@given(arrivals)
def test_what_fits_is_taken_in_each_tenants_own_order_whatever_is_cancelled(
    pattern: list[tuple[list[Piece], int, bool]],
) -> None:
    queue, held = fair_queue(), list[Piece]()
    for arriving, budget, cancels in pattern:
        for piece in held if cancels else ():
            assert queue.discard(piece)
        held = [*([] if cancels else held), *arriving]
        for piece in arriving:
            queue.add(piece)
        taken = queue.turn(budget)
        left = [piece for piece in held if piece not in taken]
        heads = {piece.tenant: piece.cost for piece in reversed(left)}
        if left:
            assert budget - sum(piece.cost for piece in taken) < max(heads.values())
        for tenant in TENANTS:
            own = [piece for piece in held if piece.tenant == tenant]
            mine = [piece for piece in taken if piece.tenant == tenant]
            assert mine == own[: len(mine)]
        for piece in taken:
            queue.discard(piece)
        held = left
    assert len(queue) == len(held)


@given(st.integers(1, COST_MAX), st.integers(1, 30), st.lists(st.integers(1, COST_MAX), min_size=1, max_size=6))
def test_a_lone_piece_among_a_flood_waits_for_a_bounded_amount_of_others(
    cost: int, budget: int, costs: list[int]
) -> None:
    queue, lone, passed = fair_queue(), Piece("b", cost), 0
    for number in range(100):
        queue.add(Piece("a", costs[number % len(costs)]))
    queue.turn(budget, overdraw=True)
    queue.add(lone)
    while lone not in (taken := queue.turn(budget, overdraw=True)):
        assert taken
        for piece in taken:
            passed += piece.cost
            queue.discard(piece)
            queue.add(Piece("a", piece.cost))
    rounds = -(-cost // QUANTUM)
    assert passed <= rounds * QUANTUM + COST_MAX


def test_places_hold_back_one_tenant_and_no_other() -> None:
    queue = fair_queue()
    works = [Piece(tenant, 1) for tenant in "aaab"]
    for piece in works:
        queue.add(piece)
    assert queue.turn(99, {"a": 2}) == works[:2]
    assert queue.turn(99, {"a": 0, "b": 5}) == works[3:]
    assert queue.turn(99) == works


def test_what_is_discarded_is_gone() -> None:
    queue, piece = fair_queue(), Piece("a", 1)
    queue.add(piece)
    assert piece in queue
    assert queue.counts == {"a": 1}
    assert queue.discard(piece)
    assert not queue.discard(piece)
    assert not queue
    assert queue.counts == {}


def filled(limit: int, wanted: dict[str, int]) -> dict[str, int]:
    """One by one, each to the tenant with the fewest among those that want more."""
    given = dict.fromkeys(wanted, 0)
    for _ in range(limit):
        if more := [tenant for tenant in wanted if given[tenant] < wanted[tenant]]:
            given[min(more, key=given.__getitem__)] += 1
    return given


@given(st.integers(4, 100), st.dictionaries(st.sampled_from(TENANTS), st.integers(1, 200)))
def test_shares_are_max_min_fair(limit: int, wanted: dict[str, int]) -> None:
    given, whole = shares(limit, wanted), filled(limit, wanted)
    assert given.keys() == wanted.keys()
    assert all(given[tenant] - whole[tenant] in (0, 1) for tenant in wanted)
    # A tenant that gets less than it wants gets as much as any other.
    assert all(given[tenant] in (wanted[tenant], max(given.values())) for tenant in wanted)


def test_shares_leave_no_tenant_without() -> None:
    assert shares(8, {"a": 99, "b": 99}) == {"a": 4, "b": 4}
    assert shares(8, {"a": 2, "b": 99}) == {"a": 2, "b": 6}
    assert shares(8, {"a": 1, "b": 2}) == {"a": 1, "b": 2}
    assert shares(2, dict.fromkeys("abcd", 5)) == dict.fromkeys("abcd", 1)


@given(st.integers(1, 40), st.lists(st.tuples(st.sampled_from(TENANTS), st.integers(-9, 9)), max_size=200))
def test_a_limit_holds_and_shuts_no_tenant_out(limit: int, changes: list[tuple[str, int]]) -> None:
    used = dict.fromkeys(TENANTS, 0)
    for tenant, change in changes:
        if change < 0:
            used[tenant] = max(0, used[tenant] + change)
        for _ in range(change):
            alone = not any(used[other] for other in TENANTS if other != tenant)
            room = has_room(limit, used, tenant)
            assert room or used[tenant] > 0
            assert room == (used[tenant] < limit) or not alone
            used[tenant] += room
        for number, most in enumerate(sorted(used.values(), reverse=True), 1):
            assert most <= -(-limit // number)


def test_one_that_fills_a_limit_leaves_another_its_share() -> None:
    used = {"a": 8}
    assert not has_room(8, used, "a")
    for number in count(1):
        if not has_room(8, used, "b"):
            break
        used["b"] = number
    assert used == {"a": 8, "b": 4}
    assert not has_room(8, used, "b", more=2)
