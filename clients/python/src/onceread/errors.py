"""Every way in which a call can fail, as a class of its own.

It knows the server's codes, and nothing of how a reply is taken apart or when a request is sent again.

OncereadError
 ├── ConnectionFailed             no answer came
 ├── UnexpectedReply              an answer that no server of Onceread gives
 ├── SourceNotRereadable          what was lost underway can not be read from the source again
 ├── SourceMismatch               the session's text is not the beginning of this source
 └── ApiError                     the server refused, and says why
      ├── BadRequest              what was asked for is wrong
      │    ├── InvalidRequest 400      ├── DigestMismatch 400      ├── BodyTooLarge 413
      │    ├── InvalidUtf8 400         ├── MethodNotAllowed 405    └── UnsupportedMediaType 415
      │    └── InvalidField 422
      ├── Denied                  the key does not allow it
      │    ├── InvalidApiKey 401       └── NotAllowed 403
      ├── Missing                 it is not there
      │    ├── NotFound 404            ├── SnapshotNotFound 404
      │    ├── SessionNotFound 404     └── SessionExpired 410
      ├── Conflict                it does not go with what is there
      │    ├── OffsetMismatch 409      ├── SessionExists 409       ├── FingerprintMismatch 409
      │    ├── ContentConflict 409     ├── SnapshotExists 409      └── TextRolledBack 409
      ├── NotNow                  it may go well later
      │    ├── Overloaded 429          ├── ReadingBehind 429       ├── Draining 503
      │    ├── QuotaExceeded 429       ├── NotReady 503            └── StoreUnavailable 503
      └── Failed                  the server can not do it
           ├── InternalError 500       ├── SessionQuarantined 503  └── StoreFull 507
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar


class OncereadError(Exception):
    """Whatever goes wrong between a caller and a session."""


class ConnectionFailed(OncereadError):
    """No answer came; `maybe_arrived` says that the request may have been carried out all the same."""

    def __init__(self, message: str, *, maybe_arrived: bool = True) -> None:
        super().__init__(message)
        self.maybe_arrived = maybe_arrived


class UnexpectedReply(OncereadError):
    """Not an answer of Onceread: of a proxy perhaps, or of another server at this address."""

    def __init__(self, message: str, *, status: int = 200) -> None:
        super().__init__(message)
        self.status = status


class SourceNotRereadable(OncereadError):
    """The source gives its bytes once, and earlier ones are needed again."""


class SourceMismatch(OncereadError):
    """The session's text does not go with the source that is to be read on."""


class ApiError(OncereadError):
    """A refusal with its reason; `members` are those that a code adds of its own, such as `expected_offset`."""

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
        self.detail, self.status, self.param, self.request_id = detail, status, param, request_id
        self.retry_after_seconds = retry_after_seconds
        self.members = dict(members or {})
        self.reason = code or self.code

    @property
    def expected_offset(self) -> int | None:
        """How far the text is durable, where the refusal says so."""
        offset = self.members.get("expected_offset")
        return offset if isinstance(offset, int) else None

    def __str__(self) -> str:
        return f"{self.detail} ({self.reason}, request {self.request_id})"


class BadRequest(ApiError):
    """What was asked for is wrong."""


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


class Denied(ApiError):
    """The key does not allow it."""


class InvalidApiKey(Denied):
    code = "invalid_api_key"


class NotAllowed(Denied):
    code = "not_allowed"


class Missing(ApiError):
    """It is not there."""


class NotFound(Missing):
    code = "not_found"


class SessionNotFound(Missing):
    code = "session_not_found"


class SnapshotNotFound(Missing):
    code = "snapshot_not_found"


class SessionExpired(Missing):
    code = "session_expired"


class Conflict(ApiError):
    """It does not go with what is there."""


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
    """It may go well later."""


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
    """The server can not do it."""


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
