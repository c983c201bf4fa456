"""The least recently used leave first, and the busy stay."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from server.ingest.session_cache import SessionCache


@dataclass
class Thing:
    resident_bytes: int
    busy: bool = False


def test_the_least_recently_used_leaves_first() -> None:
    residents: SessionCache[str, Thing] = SessionCache(20)
    for name in "abc":
        residents.put(name, Thing(10))
    residents.use("a")
    assert residents.trim() == ["b"]
    assert residents.use("b") is None
    assert residents.use("a") is not None


def test_the_busy_stay() -> None:
    residents: SessionCache[str, Thing] = SessionCache(0)
    residents.put("a", Thing(10, busy=True))
    residents.put("b", Thing(10))
    assert residents.trim() == ["b"]
    assert residents.held_bytes == 10


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30), st.booleans())), st.integers(0, 100))
def test_what_is_held_fits_but_for_the_busy(puts: list[tuple[int, int, bool]], bytes_max: int) -> None:
    residents: SessionCache[int, Thing] = SessionCache(bytes_max)
    for key, size, busy in puts:
        residents.put(key, Thing(size, busy))
        residents.trim()
        assert residents.held_bytes <= bytes_max or all(t.busy for t in residents if t.resident_bytes)
