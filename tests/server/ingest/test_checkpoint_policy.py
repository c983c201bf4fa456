"""The pace of storing: never more bytes a second than may be, never more than its share of a session's time."""

from hypothesis import given
from hypothesis import strategies as st

from server.ingest.checkpoint_policy import STORING_SHARE, CheckpointRate, is_due


@given(st.lists(st.tuples(st.integers(1, 10_000_000), st.floats(0, 5)), min_size=1, max_size=50))
def test_no_more_is_stored_than_the_time_allows(stores: list[tuple[int, float]]) -> None:
    pace, now, stored_bytes = CheckpointRate(1_000_000), 100.0, 0
    for size_bytes, pause_seconds in stores:
        now += pause_seconds
        now += pace.wait_seconds(size_bytes, now)
        # Each begins when all before it are paid for.
        assert stored_bytes <= (now - 100.0) * 1_000_000 + 1
        stored_bytes += size_bytes


def test_an_idle_server_does_not_wait() -> None:
    pace = CheckpointRate(1000)
    assert pace.wait_seconds(500, 10.0) == 0
    assert pace.wait_seconds(500, 10.0) == 0.5
    assert pace.wait_seconds(500, 20.0) == 0


def test_a_memory_is_stored_when_it_is_old_or_has_read_enough_and_can_afford_it() -> None:
    assert not is_due(0, 32, 99.0, 5.0, 0.0)
    assert is_due(1, 32, 5.0, 5.0, 99.0)
    assert not is_due(31, 32, 4.9, 5.0, 0.0)
    assert is_due(32, 32, 1.0, 5.0, 1.0 * STORING_SHARE)
    assert not is_due(32, 32, 1.0, 5.0, 1.01 * STORING_SHARE)
