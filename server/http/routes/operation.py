"""Operation: whether it lives, whether it is ready, what it is, what it counts.

It knows the application's state, and no session.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from server.http import gauges
from server.http.errors import NotReady
from server.http.routes.shared import PROBLEM
from server.sessions.errors import Draining
from server.version import VERSION

router = APIRouter(tags=["operation"])
_NOT_NOW: dict[int | str, dict[str, Any]] = {503: {**PROBLEM, "description": "Not now"}}


@router.get("/livez", response_class=Response, responses=_NOT_NOW)
async def livez(request: Request) -> Response:
    """200 while the process and the engine's thread live; the store's troubles do not count."""
    if not request.app.state.engine.alive:
        raise NotReady("the engine's thread has ended; restart the server")
    return Response(status_code=200)


@router.get("/readyz", response_class=Response, responses=_NOT_NOW)
async def readyz(request: Request) -> Response:
    """200 when weights are loaded, the store is sound and the server is not shutting down."""
    await _must_be_ready(request)
    return Response(status_code=200)


@router.get("/health", responses=_NOT_NOW)
async def health(request: Request) -> JSONResponse:
    """What `readyz` says, and what `version` does."""
    await _must_be_ready(request)
    return JSONResponse({"status": "ready", **_identity(request)})


@router.get("/version")
async def version(request: Request) -> JSONResponse:
    """The server's version, the model that it serves, the kind of store, and what acknowledged text survives."""
    return JSONResponse(_identity(request))


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """The metrics, in Prometheus' text format."""
    state = request.app.state
    await gauges.look(state.metrics, state.engine, state.reading, state.store)
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")


def _identity(request: Request) -> dict[str, str]:
    state = request.app.state
    return {
        "version": VERSION,
        "model": state.loaded.name,
        "fingerprint": state.loaded.fingerprint,
        "store": state.settings.store.partition(":")[0],
        "durability": state.service.durability,
    }


async def _must_be_ready(request: Request) -> None:
    state = request.app.state
    if state.service.draining:
        raise Draining("the server is shutting down; use another replica")
    if not state.engine.alive:
        raise NotReady("the engine's thread has ended; restart the server")
    try:
        await state.store.ready()
    except Exception:
        state.metrics.store_up.set(0)
        raise
    state.metrics.store_up.set(1)
