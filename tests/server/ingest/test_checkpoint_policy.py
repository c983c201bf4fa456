"""Checkpoints take no more bytes a second than allowed, and no more than their share of a session's time."""

from hypothesis import given
from hypothesis import strategies as st

from server.ingest.checkpointer import STORING_SHARE, CheckpointPolicy


@given(st.lists(st.tuples(st.integers(1, 10_000_000), st.floats(0, 5)), min_size=1, max_size=50))
def test_checkpoints_stay_within_the_byte_rate(stores: list[tuple[int, float]]) -> None:
    policy, now, stored_bytes = CheckpointPolicy(32, 5.0, 1_000_000), 100.0, 0
    for size_bytes, pause_seconds in stores:
        now += pause_seconds
        now += policy.wait_seconds(size_bytes, now)
        # Each begins when the rate has paid for all before it.
        assert stored_bytes <= (now - 100.0) * 1_000_000 + 1
        stored_bytes += size_bytes


def test_the_first_checkpoint_of_an_idle_server_does_not_wait() -> None:
    policy = CheckpointPolicy(32, 5.0, 1000)
    assert policy.wait_seconds(500, 10.0) == 0
    assert policy.wait_seconds(500, 10.0) == 0.5
    assert policy.wait_seconds(500, 20.0) == 0


def test_a_checkpoint_is_due_by_age_or_by_segments_that_pay_for_storing_it() -> None:
    policy = CheckpointPolicy(32, 5.0, 1000)
    assert not policy.is_due(0, 99.0, 0.0)
    assert policy.is_due(1, 5.0, 99.0)
    assert not policy.is_due(31, 4.9, 0.0)
    assert policy.is_due(32, 1.0, 1.0 * STORING_SHARE)
    assert not policy.is_due(32, 1.0, 1.01 * STORING_SHARE)
