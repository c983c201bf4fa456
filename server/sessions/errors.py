"""Every error a client can meet: its status, its code, and a sentence that says what to do.

It knows the one body that all routes share, and nothing of where an error comes from.

ApiError
 ├── InvalidRequest 400      ├── SnapshotNotFound 404      ├── UnsupportedMediaType 415
 ├── InvalidUtf8 400         ├── MethodNotAllowed 405      ├── InvalidField 422
 ├── DigestMismatch 400      ├── SessionExists 409         ├── Overloaded 429
 ├── InvalidApiKey 401       ├── SnapshotExists 409        ├── QuotaExceeded 429
 ├── NotAllowed 403          ├── OffsetMismatch 409        ├── InternalError 500
 ├── NotFound 404            ├── ContentConflict 409       ├── NotReady 503
 ├── SessionNotFound 404     ├── FingerprintMismatch 409   ├── Draining 503
 ├── TooSlow 408             ├── TextRolledBack 409        ├── StoreUnavailable 503
                             ├── SessionExpired 410        ├── SessionQuarantined 503
                             ├── BodyTooLarge 413          └── StoreFull 507
"""

from __future__ import annotations

import json
from typing import Any, ClassVar

from starlette.exceptions import HTTPException


class ApiError(HTTPException):
    """An answer that is a refusal; FastAPI lets an HTTPException through wherever it is raised."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]
    kind: ClassVar[str] = "invalid_request_error"
    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, detail: str, *, param: str | None = None, **members: Any) -> None:
        headers = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        super().__init__(self.status, detail, headers)
        self.detail_text, self.param, self.members = detail, param, members

    def body(self, request_id: str) -> dict[str, Any]:
        """RFC 9457's problem and OpenAI's error in one object."""
        return {
            "type": f"urn:onceread:error:{self.code}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail_text,
            "request_id": request_id,
            **self.members,
            "error": {"message": self.detail_text, "type": self.kind, "param": self.param, "code": self.code},
        }

    def rendered(self, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Headers, but for the request's id, and body as they are sent."""
        body = json.dumps(self.body(request_id)).encode()
        headers = {"content-type": "application/problem+json", "content-length": str(len(body)), **(self.headers or {})}
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


class InvalidRequest(ApiError):
    status, code, title = 400, "invalid_request", "The request can not be understood"


class InvalidUtf8(ApiError):
    status, code, title = 400, "invalid_utf8", "The text is not UTF-8"


class DigestMismatch(ApiError):
    status, code, title = 400, "digest_mismatch", "The body is not the one that its digest was made of"


class InvalidApiKey(ApiError):
    status, code, title = 401, "invalid_api_key", "There is no valid key"
    kind = "authentication_error"


class NotAllowed(ApiError):
    status, code, title = 403, "not_allowed", "The key does not allow this"
    kind = "permission_error"


class NotFound(ApiError):
    status, code, title = 404, "not_found", "There is no such route"
    kind = "not_found_error"


class MethodNotAllowed(ApiError):
    status, code, title = 405, "method_not_allowed", "The route does not know this method"


class SessionNotFound(ApiError):
    status, code, title = 404, "session_not_found", "There is no such session"
    kind = "not_found_error"


class SnapshotNotFound(ApiError):
    status, code, title = 404, "snapshot_not_found", "There is no such snapshot"
    kind = "not_found_error"


class TooSlow(ApiError):
    status, code, title = 408, "invalid_request", "The request took too long to come"


class InvalidField(ApiError):
    status, code, title = 422, "invalid_field", "A field is missing, unknown or out of bounds"


class SessionExists(ApiError):
    status, code, title = 409, "session_exists", "A session of this name exists"
    kind = "conflict_error"


class SnapshotExists(ApiError):
    status, code, title = 409, "snapshot_exists", "A snapshot of this name exists"
    kind = "conflict_error"


class OffsetMismatch(ApiError):
    status, code, title = 409, "offset_mismatch", "The text does not end where the append starts"
    kind = "conflict_error"


class ContentConflict(ApiError):
    status, code, title = 409, "content_conflict", "Other bytes were accepted at this offset"
    kind = "conflict_error"


class FingerprintMismatch(ApiError):
    status, code, title = 409, "fingerprint_mismatch", "The memory belongs to other weights"
    kind = "conflict_error"


class TextRolledBack(ApiError):
    status, code, title = 409, "text_rolled_back", "The store has lost text that was acknowledged"
    kind = "conflict_error"


class SessionExpired(ApiError):
    status, code, title = 410, "session_expired", "The session's time is over"
    kind = "not_found_error"


class BodyTooLarge(ApiError):
    status, code, title = 413, "body_too_large", "The body is larger than this route takes"


class UnsupportedMediaType(ApiError):
    status, code, title = 415, "unsupported_media_type", "The body's type is not one that this route takes"


class Overloaded(ApiError):
    status, code, title = 429, "overloaded", "The server has as much to do as it can queue"
    kind, retry_after_seconds = "rate_limit_error", 1


class QuotaExceeded(ApiError):
    status, code, title = 429, "quota_exceeded", "As much is used as may be"
    kind, retry_after_seconds = "rate_limit_error", 60


class InternalError(ApiError):
    status, code, title = 500, "internal_error", "The server failed"
    kind = "server_error"


class NotReady(ApiError):
    status, code, title = 503, "not_ready", "The server is not ready"
    kind, retry_after_seconds = "server_error", 1


class Draining(ApiError):
    status, code, title = 503, "draining", "The server is shutting down"
    kind, retry_after_seconds = "server_error", 5


class StoreUnavailable(ApiError):
    status, code, title = 503, "store_unavailable", "The store can not be used now"
    kind, retry_after_seconds = "server_error", 2


class SessionQuarantined(ApiError):
    status, code, title = 503, "session_quarantined", "The session's memory is damaged and is not used"
    kind, retry_after_seconds = "server_error", 3600


class StoreFull(ApiError):
    status, code, title = 507, "store_full", "The store has no room left"
    kind, retry_after_seconds = "server_error", 60
