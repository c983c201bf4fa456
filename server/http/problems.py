"""Every exception that a request can meet, and the HTTP response that it becomes.

`ROWS` maps exception types to problem types; an exception without a row of its own takes that of its base class,
and one without any is logged and answered as an internal error.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from server.engine.engine import EngineBusy, EngineStopped, StepFailed
from server.http import refusals as http
from server.ingest.errors import MemoryDamaged, ReaderDropped, ReaderStopped, ReadingFailed
from server.sessions import errors as sessions
from server.sessions.receipts import BadReceipt
from server.store import errors as store

log = logging.getLogger(__name__)

CLIENT = "invalid_request_error"
MISSING = "not_found_error"
CONFLICT = "conflict_error"
LIMIT = "rate_limit_error"
SERVER = "server_error"


class ProblemType(NamedTuple):
    """What all problems of one code share; `kind` is OpenAI's `error.type`."""

    status: int
    code: str
    title: str
    kind: str
    retry_after_seconds: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        retry = {} if self.retry_after_seconds is None else {"Retry-After": str(self.retry_after_seconds)}
        return retry | ({"WWW-Authenticate": "Bearer"} if self.status == 401 else {})


INVALID_REQUEST = ProblemType(400, "invalid_request", "Invalid request", CLIENT)
INVALID_UTF8 = ProblemType(400, "invalid_utf8", "Text is not UTF-8", CLIENT)
DIGEST_MISMATCH = ProblemType(400, "digest_mismatch", "Body does not match its Content-Digest", CLIENT)
INVALID_API_KEY = ProblemType(401, "invalid_api_key", "Invalid API key", "authentication_error")
NOT_ALLOWED = ProblemType(403, "not_allowed", "API key lacks the required scope", "permission_error")
ORIGIN_NOT_ALLOWED = ProblemType(403, "origin_not_allowed", "Page of another origin", "permission_error")
NOT_FOUND = ProblemType(404, "not_found", "Route not found", MISSING)
SESSION_NOT_FOUND = ProblemType(404, "session_not_found", "Session not found", MISSING)
SNAPSHOT_NOT_FOUND = ProblemType(404, "snapshot_not_found", "Snapshot not found", MISSING)
DOCUMENT_NOT_FOUND = ProblemType(404, "document_not_found", "Document not found", MISSING)
TEXT_NOT_FOUND = ProblemType(404, "text_not_found", "Text not found", MISSING)
METHOD_NOT_ALLOWED = ProblemType(405, "method_not_allowed", "Method not allowed", CLIENT)
TOO_SLOW = ProblemType(408, "invalid_request", "Request timeout", CLIENT)
SESSION_EXISTS = ProblemType(409, "session_exists", "Session already exists", CONFLICT)
SNAPSHOT_EXISTS = ProblemType(409, "snapshot_exists", "Snapshot already exists", CONFLICT)
OFFSET_MISMATCH = ProblemType(409, "offset_mismatch", "Offset is not the end of the text", CONFLICT)
CONTENT_CONFLICT = ProblemType(409, "content_conflict", "Other bytes are stored at this offset", CONFLICT)
FINGERPRINT_MISMATCH = ProblemType(409, "fingerprint_mismatch", "Session was made with other weights", CONFLICT)
TEXT_ROLLED_BACK = ProblemType(409, "text_rolled_back", "Store lost acknowledged text", CONFLICT)
SESSION_EXPIRED = ProblemType(410, "session_expired", "Session expired", MISSING)
BODY_TOO_LARGE = ProblemType(413, "body_too_large", "Request body too large", CLIENT)
UNSUPPORTED_MEDIA_TYPE = ProblemType(415, "unsupported_media_type", "Unsupported media type", CLIENT)
HOST_NOT_ALLOWED = ProblemType(421, "host_not_allowed", "Host is not a name of this server", CLIENT)
INVALID_FIELD = ProblemType(422, "invalid_field", "Invalid field", CLIENT)
NOT_FORGETTABLE = ProblemType(422, "not_forgettable", "This memory cannot forget a document", CLIENT)
NOT_EXTRACTABLE = ProblemType(422, "not_extractable", "Text of this file cannot be extracted", CLIENT)
OVERLOADED = ProblemType(429, "overloaded", "Server overloaded", LIMIT, 1)
QUOTA_EXCEEDED = ProblemType(429, "quota_exceeded", "Quota exceeded", LIMIT, 60)
READING_BEHIND = ProblemType(429, "reading_behind", "Reading is behind", LIMIT, 5)
INTERNAL_ERROR = ProblemType(500, "internal_error", "Internal server error", SERVER)
NOT_READY = ProblemType(503, "not_ready", "Server not ready", SERVER, 1)
DRAINING = ProblemType(503, "draining", "Server shutting down", SERVER, 5)
STORE_UNAVAILABLE = ProblemType(503, "store_unavailable", "Store unavailable", SERVER, 2)
SESSION_QUARANTINED = ProblemType(503, "session_quarantined", "Session state is damaged", SERVER, 3600)
STORE_FULL = ProblemType(507, "store_full", "Store full", SERVER, 60)


class Row(NamedTuple):
    """How an exception is shown; `{error}` in the detail stands for the exception's own text."""

    problem: ProblemType
    detail: str = "{error}"
    param: str | None = None


_AGAIN = "{error}; nothing is lost, send the request again"
_DAMAGED = "a stored value is damaged ({error}); delete the session and send its text again"
_LOG_HAS_IT = "the log has the cause under this request's id"
_NO_SESSION = Row(SESSION_NOT_FOUND, "no such session; create it with POST /v1/sessions", "id")
_NO_SNAPSHOT = Row(SNAPSHOT_NOT_FOUND, "no such snapshot; GET …/snapshots lists the session's snapshots", "name")

ROWS: Mapping[type[Exception], Row] = {
    http.InvalidRequest: Row(INVALID_REQUEST),
    http.DigestMismatch: Row(DIGEST_MISMATCH),
    http.InvalidApiKey: Row(INVALID_API_KEY),
    http.NotAllowed: Row(NOT_ALLOWED),
    http.HostNotAllowed: Row(HOST_NOT_ALLOWED),
    http.OriginNotAllowed: Row(ORIGIN_NOT_ALLOWED),
    http.TooSlow: Row(TOO_SLOW),
    http.BodyTooLarge: Row(BODY_TOO_LARGE),
    http.UnsupportedMediaType: Row(UNSUPPORTED_MEDIA_TYPE),
    http.RateLimited: Row(QUOTA_EXCEEDED),
    http.NotReady: Row(NOT_READY),
    sessions.InvalidField: Row(INVALID_FIELD),
    sessions.InvalidUtf8: Row(INVALID_UTF8),
    sessions.InvalidMemoryFile: Row(INVALID_REQUEST),
    sessions.TextNotKept: Row(INVALID_REQUEST),
    sessions.SessionExists: Row(SESSION_EXISTS),
    sessions.SnapshotExists: Row(SNAPSHOT_EXISTS),
    sessions.DocumentMissing: Row(DOCUMENT_NOT_FOUND, param="name"),
    sessions.TextMissing: Row(TEXT_NOT_FOUND),
    sessions.NotForgettable: Row(NOT_FORGETTABLE),
    sessions.FormatNotSupported: Row(UNSUPPORTED_MEDIA_TYPE),
    sessions.NotExtractable: Row(NOT_EXTRACTABLE),
    sessions.OffsetMismatch: Row(OFFSET_MISMATCH),
    sessions.ContentConflict: Row(CONTENT_CONFLICT),
    sessions.FingerprintMismatch: Row(FINGERPRINT_MISMATCH),
    sessions.TextRolledBack: Row(TEXT_ROLLED_BACK),
    sessions.SessionQuarantined: Row(SESSION_QUARANTINED),
    sessions.QuotaExceeded: Row(QUOTA_EXCEEDED),
    sessions.Overloaded: Row(OVERLOADED),
    sessions.ReadingBehind: Row(READING_BEHIND),
    sessions.Draining: Row(DRAINING),
    BadReceipt: Row(INVALID_FIELD, "the receipt is not valid: {error}", "Onceread-Receipt"),
    MemoryDamaged: Row(SESSION_QUARANTINED, _DAMAGED),
    ReaderStopped: Row(DRAINING, "{error}; send the request again when the server is back"),
    ReaderDropped: Row(NOT_READY, "the session was changed while the request waited for it; send the request again"),
    EngineBusy: Row(OVERLOADED, "{error}; send the request again after the seconds in Retry-After"),
    EngineStopped: Row(NOT_READY),
    ReadingFailed: Row(INTERNAL_ERROR, "{error}; the text is kept, " + _LOG_HAS_IT),
    StepFailed: Row(INTERNAL_ERROR, "the model failed at this request, not at others; " + _LOG_HAS_IT),
    store.StoreError: Row(STORE_UNAVAILABLE, _AGAIN),
    store.SessionMissing: _NO_SESSION,
    store.SessionExpired: Row(SESSION_EXPIRED, param="id"),
    store.SessionTaken: Row(SESSION_EXISTS, "a session of this name exists; choose another id, or use it"),
    store.SnapshotMissing: _NO_SNAPSHOT,
    store.SnapshotTaken: Row(SNAPSHOT_EXISTS, "a snapshot of this name exists; choose another name, or delete it"),
    store.TooManySnapshots: Row(QUOTA_EXCEEDED),
    store.TooManyDocuments: Row(QUOTA_EXCEEDED),
    store.CharacterCut: Row(INVALID_UTF8, param="document"),
    store.OffsetMismatch: Row(OFFSET_MISMATCH, "{error}; continue from there"),
    store.ContentConflict: Row(CONTENT_CONFLICT, "{error}; use a new session"),
    store.StaleCheckpoint: Row(STORE_UNAVAILABLE, _AGAIN),
    store.LeaseHeld: Row(STORE_UNAVAILABLE, _AGAIN),
    store.LeaseLost: Row(STORE_UNAVAILABLE, _AGAIN),
    store.DamagedValue: Row(SESSION_QUARANTINED, _DAMAGED),
    store.StoreFull: Row(STORE_FULL, "the store is full and kept nothing of this request; make room and repeat it"),
    store.StoreUnavailable: Row(STORE_UNAVAILABLE, _AGAIN),
}
_WITH_OFFSET = (store.OffsetMismatch, store.ContentConflict, store.CharacterCut, store.TooManyDocuments)
_NO_ROUTE = Row(NOT_FOUND, "there is no such route; /docs lists the routes")
_NO_METHOD = Row(METHOD_NOT_ALLOWED, "this route does not take this method; the header Allow lists those that it takes")
_UNKNOWN = Row(INTERNAL_ERROR, "the server failed; " + _LOG_HAS_IT)
PROBLEM_TYPES = frozenset(row.problem for row in (*ROWS.values(), _NO_ROUTE, _NO_METHOD, _UNKNOWN))


@dataclass(frozen=True)
class ErrorResponse:
    """The response to a request that failed."""

    problem: ProblemType
    detail: str
    param: str | None
    members: Mapping[str, Any]
    headers: Mapping[str, str]

    def body(self, request_id: str) -> dict[str, Any]:
        """RFC 9457's problem and OpenAI's error in one object."""
        code = self.problem.code
        return {
            "type": f"urn:onceread:error:{code}",
            "title": self.problem.title,
            "status": self.problem.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.members,
            "error": {"message": self.detail, "type": self.problem.kind, "param": self.param, "code": code},
        }

    def rendered(self, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """The headers, except the request id's, and the body as they are sent."""
        body = json.dumps(self.body(request_id)).encode()
        headers = {"content-type": "application/problem+json", "content-length": str(len(body)), **self.headers}
        return [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


def error_response(error: Exception) -> ErrorResponse:
    """The response to an exception; one that is answered as an internal error is logged."""
    match error:
        case ExceptionGroup():
            return error_response(error.exceptions[0])
        case RequestValidationError():
            return error_response(_invalid(error))
        # FastAPI wraps what is raised while it reads a body.
        case HTTPException(__cause__=sessions.Refusal() as cause):
            return error_response(cause)
    row = _row(error)
    if row.problem is INTERNAL_ERROR:
        log.error("unexpected failure", exc_info=error)
    param, members = row.param, dict[str, Any]()
    if isinstance(error, sessions.Refusal):
        param, members = error.param, error.members
    elif isinstance(error, _WITH_OFFSET):
        members = {"expected_offset": error.accepted_bytes}
    detail = row.detail.replace("{error}", str(error))
    limits = error.headers if isinstance(error, http.RateLimited) else {}
    return ErrorResponse(row.problem, detail, param, members, {**row.problem.headers, **limits})


def _row(error: Exception) -> Row:
    match error:
        case HTTPException(status_code=404):
            return _NO_ROUTE
        case HTTPException(status_code=405):
            return _NO_METHOD
        case HTTPException(status_code=status) if status < 500:
            return Row(INVALID_REQUEST, str(error.detail))
        case _:
            return next((ROWS[kind] for kind in type(error).__mro__ if kind in ROWS), _UNKNOWN)


def _invalid(error: RequestValidationError) -> sessions.Refusal:
    """The first fault of a request, by its field's name."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return http.InvalidRequest(f"the body is not JSON: {first['ctx']['error']}")
    where = [str(part) for part in first["loc"]]
    name = ".".join(where[1:]) or where[0]
    message = "is missing; send it" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    return sessions.InvalidField(f"{name}: {message}", param=name)
