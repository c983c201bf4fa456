"""Limits without a server: JSON nesting and token buckets, against exact counts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import http_sf
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.types import Message

from server.http.body_limits import bounded, depth, is_json
from server.http.quotas import WINDOW_SECONDS, Bucket, Quotas, Turn
from server.http.refusals import BodyTooLarge, InvalidRequest, RateLimited
from server.settings import Settings


def depth_by_hand(body: bytes) -> int:
    """Byte by byte: brackets count outside strings, and a backslash takes the next byte with it."""
    found = deepest = 0
    in_string = escaped = False
    for byte in body:
        if escaped:
            escaped = False
        elif in_string:
            escaped, in_string = byte == ord("\\"), byte != ord('"')
        elif byte == ord('"'):
            in_string = True
        elif byte in b"[{":
            found += 1
            deepest = max(deepest, found)
        elif byte in b"]}":
            found -= 1
    return deepest


@given(st.binary() | st.text('[]{}",:\\a\n').map(str.encode))
@example(b'"\\"[[')
@example(b'["\\\\"[[]]]')
@example(b'"\\')
def test_json_depth_equals_a_byte_by_byte_count(body: bytes) -> None:
    assert depth(body) == depth_by_hand(body)


def nested(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(nested, inner), default=0)


JSON = st.recursive(
    st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON, st.booleans(), st.sampled_from([None, 2]))
def test_json_depth_is_the_nesting_of_the_value(value: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode(errors="surrogatepass")
    assert depth(body) == nested(value)


@pytest.mark.parametrize(
    ("content_type", "so"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/problem+json", True),
        ("application/x-ndjson", False),
        ("text/plain", False),
        ("text/json", False),
        ("", False),
    ],
)
def test_which_content_types_are_json(content_type: str, so: bool) -> None:
    assert is_json(content_type) is so


def take_in(pieces: list[bytes], body_bytes: int = 1000, json_depth: int | None = 4) -> bytes:
    """The body that the application gets when it comes in these pieces."""

    async def run() -> bytes:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages[-1]["more_body"] = False

        async def receive() -> Message:
            return messages.pop(0)

        guarded = bounded(receive, body_bytes, json_depth)
        return b"".join([(await guarded())["body"] for _ in pieces])

    return asyncio.run(run())


@given(st.data())
def test_json_depth_does_not_depend_on_chunks(data: st.DataObject) -> None:
    levels = data.draw(st.integers(1, 6))
    body = b'["\\"[[", ' + b"[" * (levels - 1) + b"1" + b"]" * levels
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)))))
    pieces = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if levels <= 4:
        assert take_in(pieces) == body
    else:
        with pytest.raises(InvalidRequest, match=f"nested {levels} deep, at most 4"):
            take_in(pieces)
    assert take_in(pieces, json_depth=None) == body


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be"])
def test_json_that_is_not_utf8_is_refused(encoding: str) -> None:
    with pytest.raises(InvalidRequest, match="UTF-8"):
        take_in(['{"Ģ": 1}'.encode(encoding)])


@pytest.mark.parametrize(("length", "fits"), [(999, True), (1000, True), (1001, False)])
def test_the_body_limit_does_not_depend_on_chunks(length: int, fits: bool) -> None:
    for pieces in ([b" " * length], [b" " * 500, b" " * (length - 500)]):
        if fits:
            assert len(take_in(pieces)) == length
        else:
            with pytest.raises(BodyTooLarge, match="at most 1000 bytes"):
                take_in(pieces)


class ByHand:
    """A bucket that keeps every event, and works out its level from the beginning, a tick at a time."""

    TICKS_PER_SECOND = 8

    def __init__(self, per_second: int, window_seconds: int) -> None:
        self._each, self._capacity = Fraction(per_second, self.TICKS_PER_SECOND), Fraction(per_second * window_seconds)
        self._taken: dict[int, int] = {}

    def take(self, amount: int, tick: int) -> None:
        self._taken[tick] = self._taken.get(tick, 0) + amount

    def level(self, tick: int) -> Fraction:
        level = self._capacity
        for at in range(tick + 1):
            level = min(self._capacity, level + (self._each if at else 0)) - self._taken.get(at, 0)
        return level


EVENTS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 50)), max_size=20)


@given(st.integers(1, 9), st.integers(1, 9), EVENTS)
def test_a_token_bucket_equals_an_exact_count(per_second: int, window: int, events: list[tuple[int, int]]) -> None:
    bucket, twin, tick = Bucket(per_second, 0.0, window), ByHand(per_second, window), 0
    for pause, amount in events:
        tick += pause
        now = tick / ByHand.TICKS_PER_SECOND
        bucket.take(amount, now)
        twin.take(amount, tick)
        assert bucket.level(now) == twin.level(tick)


@given(st.integers(1, 9), st.integers(1, 9), EVENTS)
def test_after_wait_seconds_the_amount_is_available_and_not_before(
    per_second: int, window: int, events: list[tuple[int, int]]
) -> None:
    bucket, now = Bucket(per_second, 0.0, window), 0.0
    for pause, amount in events:
        amount = min(amount, per_second * window)
        now += pause / 8
        wait_seconds = bucket.wait_seconds(amount, now)
        if wait_seconds:
            assert bucket.level(now + 0.9 * wait_seconds) < amount
        now += wait_seconds
        assert bucket.level(now) >= amount - 1e-9
        bucket.take(amount, now)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def quotas(clock: Clock, **settings: Any) -> Quotas:
    return Quotas(Settings(**settings), clock)


def lists(headers: Mapping[str, str]) -> tuple[Any, Any]:
    """Both headers, taken apart by the rules for structured fields."""

    def taken_apart(name: str) -> dict[str, Any]:
        items: Any = http_sf.parse(headers[name].encode(), tltype="list")
        return dict(items)

    return taken_apart("RateLimit-Policy"), taken_apart("RateLimit")


def test_the_request_rate_limit_and_its_headers() -> None:
    clock = Clock()
    limited = quotas(clock, tenant_requests_per_second=0.25)
    for number in range(15):
        turn = limited.begin("acme", None)
        policy, left = lists(turn.headers())
        assert policy == {"requests": {"q": 15, "w": WINDOW_SECONDS, "qu": "requests"}}
        assert left == {"requests": {"r": 14 - number, "t": 4 * (number + 1)}}
    with pytest.raises(RateLimited) as refused:
        limited.begin("acme", None)
    headers = refused.value.headers
    assert headers["Retry-After"] == "4"
    assert lists(headers)[1] == {"requests": {"r": 0, "t": 60}}
    # Another tenant's are counted separately, and waiting for Retry-After is enough.
    limited.begin("umbra", None)
    clock.now = 3.999
    with pytest.raises(RateLimited):
        limited.begin("acme", None)
    clock.now = 4.0
    limited.begin("acme", None)
    clock.now = 1e6
    for _ in range(15):
        limited.begin("acme", None)
    with pytest.raises(RateLimited):
        limited.begin("acme", None)


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_concurrent_answers_limit_and_its_headers(most: int) -> None:
    limited = quotas(Clock(), tenant_answers_max=most)
    turns = []
    for number in range(most):
        turns.append(limited.begin("acme", "queries"))
        policy, left = lists(turns[-1].headers())
        assert policy == {"answers": {"q": most, "qu": "concurrent-requests"}}
        assert left == {"answers": {"r": most - 1 - number}}
    with pytest.raises(RateLimited) as refused:
        limited.begin("acme", "queries")
    assert refused.value.headers["Retry-After"] == "1"
    limited.begin("acme", "text")
    limited.begin("umbra", "queries")
    # One ends, however it ends, and another may begin.
    with pytest.raises(ZeroDivisionError), turns[0]:
        raise ZeroDivisionError
    with limited.begin("acme", "queries"), pytest.raises(RateLimited):
        limited.begin("acme", "queries")


def test_a_refused_request_does_not_count_against_a_limit() -> None:
    clock = Clock()
    limited = quotas(clock, tenant_answers_max=1, tenant_requests_per_second=0.05)
    with limited.begin("acme", "queries"):
        for _ in range(9):
            with pytest.raises(RateLimited, match="being answered"):
                limited.begin("acme", "queries")
    limited.begin("acme", None)
    limited.begin("acme", None)
    with pytest.raises(RateLimited, match="the request rate limit"):
        limited.begin("acme", None)


def upload(turn: Turn, pieces: list[int], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When each of the pieces, given by their lengths, reaches the application."""
    came: list[float] = []
    messages = [{"type": "http.request", "body": b"x" * length, "more_body": True} for length in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> Message:
        return messages.pop(0)

    async def sleep(seconds: float) -> None:
        clock.now += seconds

    async def run() -> None:
        with turn:
            paced = turn.received(receive)
            while (await paced())["more_body"]:
                came.append(clock.now)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio, "sleep", sleep)
        asyncio.run(run())
    return came


def test_an_upload_is_throttled_to_its_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    limited = quotas(clock, tenant_text_bytes_per_second=10)
    # A minute's worth at once, then ten bytes a second.
    assert upload(limited.begin("acme", "text"), [500, 100, 50, 25], clock, monkeypatch) == [0, 0, 5, 7.5]
    # The next one has to wait for the first byte.
    with pytest.raises(RateLimited, match="the upload rate limit") as refused:
        limited.begin("acme", "text")
    headers = refused.value.headers
    assert headers["Retry-After"] == "1"
    policy, left = lists(headers)
    assert policy == {"text": {"q": 600, "w": 60, "qu": "content-bytes"}}
    assert left == {"text": {"r": 0, "t": 60}}
    # What is no text goes on.
    limited.begin("acme", "queries")
    limited.begin("acme", None)
    clock.now += 0.125
    limited.begin("acme", "text")


@pytest.mark.parametrize(("length", "refused"), [(599, False), (600, True), (601, True)])
def test_the_upload_burst_is_one_window(length: int, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    limited = quotas(clock, tenant_text_bytes_per_second=10)
    upload(limited.begin("acme", "text"), [length], clock, monkeypatch)
    clock.now = 0.0
    if refused:
        with pytest.raises(RateLimited):
            limited.begin("acme", "text")
    else:
        limited.begin("acme", "text")


def test_without_limits_there_are_no_ratelimit_headers() -> None:
    assert quotas(Clock()).begin("acme", "text").headers() == {}
