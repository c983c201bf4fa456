"""Leases of one process: their epochs grow even when the clock does not."""

import pytest

from server.store.base import LeaseLost
from server.store.local_leases import Leases
from tests.server.store.samples import key


@pytest.mark.parametrize("later_seconds", [0.0, -1.0, 1.0])
def test_an_epoch_is_above_the_one_that_ended(later_seconds: float) -> None:
    leases = Leases()
    first = leases.take(key(), "a", 10.0, ask=False, now_seconds=5.0)
    leases.end(key())
    with pytest.raises(LeaseLost):
        leases.renew(first, 10.0, 5.0)
    second = leases.take(key(), "b", 10.0, ask=False, now_seconds=5.0 + later_seconds)
    assert second.epoch > first.epoch


def test_ending_a_lease_that_was_never_taken_does_nothing() -> None:
    leases = Leases()
    leases.end(key())
    assert leases.take(key(), "a", 10.0, ask=False, now_seconds=5.0).holder == "a"
