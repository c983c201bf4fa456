"""Admission: new work is refused while the server shuts down or its queues are full, and everything else is not."""

from __future__ import annotations

import pytest

from server.http.admission import Admission
from server.http.permissions import CALLS, Call
from server.http.refusals import RateLimited
from server.sessions.errors import Draining, Overloaded
from server.settings import Settings

CHANGES = [call for call in CALLS if call.method in ("POST", "PUT", "PATCH")]
OTHERS = [call for call in CALLS if call not in CHANGES]


def admission(full: str = "", **limits: int) -> Admission:
    """Its queues are full for the tenant of this name."""
    return Admission(Settings(**limits), lambda tenant: "9 questions are waiting" if tenant == full else None)


@pytest.mark.parametrize("call", CHANGES)
def test_a_draining_server_admits_no_change(call: Call) -> None:
    closing = admission()
    closing.draining = True
    with pytest.raises(Draining, match="shutting down"):
        closing.admit(call, "acme")


@pytest.mark.parametrize("call", OTHERS)
def test_a_draining_and_overloaded_server_still_shows_and_deletes(call: Call) -> None:
    closing = admission(full="acme")
    closing.draining = True
    with closing.admit(call, "acme"):
        pass


@pytest.mark.parametrize("call", CHANGES)
def test_full_queues_refuse_text_and_questions_of_the_tenant_alone(call: Call) -> None:
    full = admission(full="acme")
    with full.admit(call, "umbra"):
        pass
    if call.phase is None:
        with full.admit(call, "acme"):
            pass
    else:
        with pytest.raises(Overloaded, match="9 questions are waiting; send the request again"):
            full.admit(call, "acme")


def test_a_refused_request_is_not_counted_against_the_quota() -> None:
    limited = admission(tenant_answers_max=1)
    question = next(call for call in CALLS if call.phase == "queries")
    limited.draining = True
    with pytest.raises(Draining):
        limited.admit(question, "acme")
    limited.draining = False
    with limited.admit(question, "acme"), pytest.raises(RateLimited):
        limited.admit(question, "acme")
