"""Refusals that only HTTP has: malformed, unauthenticated, too slow or too large requests.

Their statuses and titles, like those of every other error, are in `problems.py`.

HttpError
 ├── InvalidRequest         malformed HTTP or JSON
 ├── DigestMismatch         the body's digest is not its Content-Digest
 ├── InvalidApiKey          no key, or an unknown, expired or revoked one
 ├── NotAllowed             the key lacks a scope
 ├── HostNotAllowed         the server requires no key, and the Host is not a name of it
 ├── OriginNotAllowed       the server requires no key, and another origin's page would change something
 ├── TooSlow                headers or body took too long
 ├── BodyTooLarge           the body exceeds the route's limit
 ├── UnsupportedMediaType   the route does not take this Content-Type
 ├── RateLimited            the tenant exceeds a rate or concurrency limit; `headers` carry the RateLimit fields
 └── NotReady               the server cannot serve this now
"""

from __future__ import annotations

from collections.abc import Mapping

from server.sessions.errors import Refusal


class HttpError(Refusal):
    pass


class InvalidRequest(HttpError):
    pass


class DigestMismatch(HttpError):
    pass


class InvalidApiKey(HttpError):
    pass


class NotAllowed(HttpError):
    pass


class HostNotAllowed(HttpError):
    pass


class OriginNotAllowed(HttpError):
    pass


class TooSlow(HttpError):
    pass


class BodyTooLarge(HttpError):
    pass


class UnsupportedMediaType(HttpError):
    pass


class RateLimited(HttpError):
    def __init__(self, detail: str, headers: Mapping[str, str]) -> None:
        super().__init__(detail)
        self.headers = headers


class NotReady(HttpError):
    pass
