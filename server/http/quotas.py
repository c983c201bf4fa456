"""What one tenant may use: requests and bytes of text in a time, and answers at the same time.

Counted per server process: with N replicas a tenant may use up to N times its limits.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import http_sf
from starlette.types import Message, Receive

from server.http.permissions import Phase
from server.http.refusals import RateLimited
from server.settings import TenantSettings

# Rates are averages over this time: a burst may use all of it at once.
WINDOW_SECONDS = 60


class Bucket:
    """A token bucket that holds one window's worth; taking more than there is leaves a debt, which refills first."""

    def __init__(self, per_second: float, now: float, window_seconds: float = WINDOW_SECONDS) -> None:
        self.per_second, self.capacity = per_second, per_second * window_seconds
        self._level, self._at = self.capacity, now

    def level(self, now: float) -> float:
        return min(self.capacity, self._level + (now - self._at) * self.per_second)

    def take(self, amount: float, now: float) -> None:
        self._level, self._at = self.level(now) - amount, now

    def wait_seconds(self, amount: float, now: float) -> float:
        """Seconds until `amount` is available."""
        return max(0.0, (amount - self.level(now)) / self.per_second)


class Tenant:
    """One tenant's current use."""

    def __init__(self, settings: TenantSettings, clock: Callable[[], float]) -> None:
        def bucket(per_second: float | None) -> Bucket | None:
            return None if per_second is None else Bucket(per_second, clock())

        self._clock = clock
        self._requests = bucket(settings.tenant_requests_per_second)
        self._text = bucket(settings.tenant_text_bytes_per_second)
        self._answers_max = settings.tenant_answers_max
        self._answers = 0

    def begin(self, phase: Phase | None) -> Turn:
        """Counts a request, or refuses it; the turn must be ended with the request."""
        now = self._clock()
        if self._requests and (wait_seconds := self._requests.wait_seconds(1, now)):
            raise self._exceeded("the request rate limit is reached", wait_seconds)
        if phase == "text" and self._text and (wait_seconds := self._text.wait_seconds(1, now)):
            raise self._exceeded("the upload rate limit is reached", wait_seconds)
        if phase == "queries" and self._answers_max is not None and self._answers >= self._answers_max:
            raise self._exceeded(f"{self._answers} requests are being answered, the concurrency limit", 1)
        if self._requests:
            self._requests.take(1, now)
        self._answers += phase == "queries"
        return Turn(self, phase)

    def end(self, phase: Phase | None) -> None:
        self._answers -= phase == "queries"

    def paced(self, receive: Receive) -> Receive:
        """The same messages, delayed to the tenant's upload rate."""
        text = self._text
        if text is None:
            return receive

        async def paced() -> Message:
            message = await receive()
            text.take(len(message.get("body", b"")), self._clock())
            if message.get("more_body"):
                await asyncio.sleep(text.wait_seconds(0, self._clock()))
            return message

        return paced

    def headers(self) -> dict[str, str]:
        """Limits and what is left of them (draft-ietf-httpapi-ratelimit-headers); empty without limits."""
        now = self._clock()
        policies: list[Any] = []
        left: list[Any] = []
        for name, bucket, unit in (("requests", self._requests, "requests"), ("text", self._text, "content-bytes")):
            if bucket:
                full_seconds = bucket.wait_seconds(bucket.capacity, now)
                policies.append((name, {"q": math.floor(bucket.capacity), "w": WINDOW_SECONDS, "qu": unit}))
                left.append((name, {"r": max(0, math.floor(bucket.level(now))), "t": math.ceil(full_seconds)}))
        if self._answers_max is not None:
            policies.append(("answers", {"q": self._answers_max, "qu": "concurrent-requests"}))
            left.append(("answers", {"r": self._answers_max - self._answers}))
        return {"RateLimit-Policy": http_sf.ser(policies), "RateLimit": http_sf.ser(left)} if policies else {}

    def _exceeded(self, reason: str, wait_seconds: float) -> RateLimited:
        headers = {**self.headers(), "Retry-After": str(max(1, math.ceil(wait_seconds)))}
        return RateLimited(f"{reason}; send the request again after the seconds in Retry-After", headers)


class Turn:
    """One request of a tenant, from its headers to the end of its response."""

    def __init__(self, tenant: Tenant, phase: Phase | None) -> None:
        self._tenant, self._phase = tenant, phase

    def __enter__(self) -> Turn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tenant.end(self._phase)

    def received(self, receive: Receive) -> Receive:
        return self._tenant.paced(receive) if self._phase == "text" else receive

    def headers(self) -> dict[str, str]:
        return self._tenant.headers()


class Quotas:
    """The tenants that have sent a request; at most as many as the keys file names."""

    def __init__(self, settings: TenantSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._tenants: dict[str, Tenant] = {}

    def begin(self, tenant: str, phase: Phase | None) -> Turn:
        if tenant not in self._tenants:
            self._tenants[tenant] = Tenant(self._settings, self._clock)
        return self._tenants[tenant].begin(phase)
