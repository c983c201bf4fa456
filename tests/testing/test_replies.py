"""`eventually` polls until a check holds, with a deadline in time."""

from __future__ import annotations

import pytest

from testing.replies import eventually


def test_the_first_true_result_is_returned() -> None:
    results = iter([None, 0, "", "found", "later"])
    assert eventually(lambda: next(results)) == "found"


def test_a_failed_assertion_is_tried_again() -> None:
    values = iter([1, 2, 3])

    def check() -> int:
        value = next(values)
        assert value == 3
        return value

    assert eventually(check) == 3


def test_after_the_deadline_the_last_failed_assertion_is_the_cause() -> None:
    def check() -> None:
        raise AssertionError("the session is still reading")

    with pytest.raises(AssertionError, match=r"not true within 0 s: check") as caught:
        eventually(check, seconds=0)
    assert str(caught.value.__cause__) == "the session is still reading"


def test_other_errors_end_it_at_once() -> None:
    def check() -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        eventually(check)
