"""Whether new work is taken now: not while the server shuts down, nor beyond its queues or a tenant's quotas."""

from __future__ import annotations

import time
from collections.abc import Callable

from server.http.permissions import Call
from server.http.quotas import Quotas, Turn
from server.sessions.errors import Draining, Overloaded
from server.settings import TenantSettings


class Admission:
    """Admits requests; `overload` says why the queues take no more work of a tenant, or returns None."""

    def __init__(
        self,
        settings: TenantSettings,
        overload: Callable[[str], str | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.draining = False
        self._overload = overload
        self._quotas = Quotas(settings, clock)

    def admit(self, call: Call, tenant: str) -> Turn:
        """Counts the request until its turn ends; raises `Draining`, `Overloaded` or `RateLimited`."""
        if call.method in ("POST", "PUT", "PATCH"):
            self.must_not_drain()
            if call.phase is not None and (reason := self._overload(tenant)):
                raise Overloaded(f"{reason}; send the request again after the seconds in Retry-After")
        return self._quotas.begin(tenant, call.phase)

    def must_not_drain(self) -> None:
        if self.draining:
            raise Draining("the server is shutting down; send the request to another replica, or again later")
