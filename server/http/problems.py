"""Every failure as the one error that a client sees.

It knows what the layers below can raise, and turns each into its code; what it does not know is an internal error.
"""

from __future__ import annotations

import logging

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from server.engine.engine import EngineStopped
from server.ingest.resident_session import Halted, Quarantined
from server.sessions import errors
from server.store import base

log = logging.getLogger(__name__)


class ClientGone(Exception):
    """The client closed the connection; nobody is left to answer."""


def as_api_error(error: Exception) -> errors.ApiError:
    """The error to answer with; an unknown one is logged with its trace."""
    match error:
        case errors.ApiError():
            return error
        case ExceptionGroup():
            return as_api_error(error.exceptions[0])
        case base.SessionMissing():
            return errors.SessionNotFound("no such session; create it with POST /v1/sessions", param="id")
        case base.SnapshotMissing():
            return errors.SnapshotNotFound("no such snapshot; GET …/snapshots lists those there are", param="name")
        case base.SessionExpired():
            return errors.SessionExpired(str(error), param="id")
        case Quarantined() | base.DamagedValue():
            return errors.SessionQuarantined(
                f"a stored value is damaged ({error}); delete the session and send its text again"
            )
        case base.StoreFull():
            return errors.StoreFull(
                "the store has no room left and kept nothing of this request; make room and repeat it"
            )
        case base.StoreError():
            return errors.StoreUnavailable(f"{error}; nothing is lost, send the request again")
        case Halted():
            return errors.Draining(f"{error}; ask again when it is back")
        case EngineStopped():
            return errors.NotReady(str(error))
        case RequestValidationError():
            return _invalid(error)
        case HTTPException(status_code=404):
            return errors.NotFound("there is no such route; see /docs for those there are")
        case HTTPException(status_code=405):
            return errors.MethodNotAllowed("this route does not take this method; the header Allow names those it does")
        case HTTPException(status_code=status) if status < 500:
            return errors.InvalidRequest(str(error.detail))
        case _:
            log.error("unexpected failure", exc_info=error)
            return errors.InternalError("the server failed; the request's id finds the cause in its log")


def _invalid(error: RequestValidationError) -> errors.ApiError:
    """The first fault of a request, by its field's name."""
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return errors.InvalidRequest(f"the body is not JSON: {first['ctx']['error']}")
    where = [str(part) for part in first["loc"]]
    field = ".".join(where[1:]) or where[0]
    message = "is missing; send it" if first["type"] == "missing" else first["msg"].removeprefix("Value error, ")
    return errors.InvalidField(f"{field}: {message}", param=field)
