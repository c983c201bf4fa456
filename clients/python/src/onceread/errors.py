"""The errors of the client: one class for each error code of the server.

OncereadError
 ├── ConnectionFailed             no reply came
 ├── UnexpectedReply              a reply that is not from an Onceread server
 ├── SourceNotRereadable          lost bytes cannot be read from the source again
 ├── SourceMismatch               the session's text is not the beginning of this source
 └── ApiError                     the server refused the request
      ├── BadRequest              the request is wrong
      │    ├── InvalidRequest 400      ├── DigestMismatch 400      ├── BodyTooLarge 413
      │    ├── InvalidUtf8 400         ├── MethodNotAllowed 405    └── UnsupportedMediaType 415
      │    ├── InvalidField 422        ├── NotForgettable 422      └── NotExtractable 422
      ├── Denied                  the caller may not do this
      │    ├── InvalidApiKey 401       ├── HostNotAllowed 421
      │    ├── NotAllowed 403          └── OriginNotAllowed 403
      ├── Missing                 the resource does not exist
      │    ├── NotFound 404            ├── SnapshotNotFound 404    └── SessionExpired 410
      │    ├── SessionNotFound 404     ├── DocumentNotFound 404    └── TextNotFound 404
      ├── Conflict                the request conflicts with the stored state
      │    ├── OffsetMismatch 409      ├── SessionExists 409       ├── FingerprintMismatch 409
      │    ├── ContentConflict 409     ├── SnapshotExists 409      └── TextRolledBack 409
      ├── NotNow                  a later try may succeed
      │    ├── Overloaded 429          ├── ReadingBehind 429       ├── Draining 503
      │    ├── QuotaExceeded 429       ├── NotReady 503            └── StoreUnavailable 503
      └── Failed                  the server failed
           ├── InternalError 500       ├── SessionQuarantined 503  └── StoreFull 507
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class OncereadError(Exception):
    """The base of all errors of this package."""


class ConnectionFailed(OncereadError):
    """No reply came; if `maybe_arrived`, the server may have executed the request."""

    def __init__(self, message: str, *, maybe_arrived: bool = True) -> None:
        super().__init__(message)
        self.maybe_arrived = maybe_arrived


class UnexpectedReply(OncereadError):
    """A reply that is not from Onceread, but perhaps from a proxy or another server at this address."""

    def __init__(self, message: str, *, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


class SourceNotRereadable(OncereadError):
    """Earlier bytes of the source are needed again, and the source can be read once only."""


class SourceMismatch(OncereadError):
    """The session's text does not match the source whose upload is resumed."""


class ApiError(OncereadError):
    """An error reply of the server; `members` are the fields that only this code has, such as `expected_offset`."""

    code: ClassVar[str] = ""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str = "",
        param: str | None = None,
        request_id: str = "",
        retry_after_seconds: float | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.param = param
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds
        self.members = dict(members or {})
        self.reason = code or self.code

    @property
    def expected_offset(self) -> int | None:
        """How far the text is durable, if the error says so."""
        offset = self.members.get("expected_offset")
        return offset if isinstance(offset, int) else None

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason}, request {self.request_id})"


class BadRequest(ApiError):
    """The request is wrong."""


class InvalidRequest(BadRequest):
    code = "invalid_request"


class InvalidUtf8(BadRequest):
    code = "invalid_utf8"


class DigestMismatch(BadRequest):
    code = "digest_mismatch"


class InvalidField(BadRequest):
    code = "invalid_field"


class MethodNotAllowed(BadRequest):
    code = "method_not_allowed"


class BodyTooLarge(BadRequest):
    code = "body_too_large"


class UnsupportedMediaType(BadRequest):
    code = "unsupported_media_type"


class NotForgettable(BadRequest):
    code = "not_forgettable"


class NotExtractable(BadRequest):
    code = "not_extractable"


class Denied(ApiError):
    """The caller may not do this: by its API key, or under this name on a server that requires no key."""


class InvalidApiKey(Denied):
    code = "invalid_api_key"


class NotAllowed(Denied):
    code = "not_allowed"


class HostNotAllowed(Denied):
    code = "host_not_allowed"


class OriginNotAllowed(Denied):
    code = "origin_not_allowed"


class Missing(ApiError):
    """The resource does not exist."""


class NotFound(Missing):
    code = "not_found"


class SessionNotFound(Missing):
    code = "session_not_found"


class DocumentNotFound(Missing):
    code = "document_not_found"


class TextNotFound(Missing):
    """The session does not hold the text at this offset; `members["next_offset"]` is where it goes on, or None."""

    code = "text_not_found"


class SnapshotNotFound(Missing):
    code = "snapshot_not_found"


class SessionExpired(Missing):
    code = "session_expired"


class Conflict(ApiError):
    """The request conflicts with the stored state."""


class OffsetMismatch(Conflict):
    code = "offset_mismatch"


class ContentConflict(Conflict):
    code = "content_conflict"


class SessionExists(Conflict):
    code = "session_exists"


class SnapshotExists(Conflict):
    code = "snapshot_exists"


class FingerprintMismatch(Conflict):
    code = "fingerprint_mismatch"


class TextRolledBack(Conflict):
    code = "text_rolled_back"


class NotNow(ApiError):
    """A later try may succeed."""


class Overloaded(NotNow):
    code = "overloaded"


class QuotaExceeded(NotNow):
    code = "quota_exceeded"


class ReadingBehind(NotNow):
    code = "reading_behind"


class NotReady(NotNow):
    code = "not_ready"


class Draining(NotNow):
    code = "draining"


class StoreUnavailable(NotNow):
    code = "store_unavailable"


class Failed(ApiError):
    """The server failed."""


class InternalError(Failed):
    code = "internal_error"


class SessionQuarantined(Failed):
    code = "session_quarantined"


class StoreFull(Failed):
    code = "store_full"


def _leaves(kind: type[ApiError]) -> Iterator[type[ApiError]]:
    for below in kind.__subclasses__():
        yield from _leaves(below)
        if below.code:
            yield below


BY_CODE: dict[str, type[ApiError]] = {kind.code: kind for kind in _leaves(ApiError)}
