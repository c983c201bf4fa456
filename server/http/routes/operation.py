"""Probes, version and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from server.http import gauges
from server.http.errors import NotReady
from server.http.routes.shared import problems
from server.sessions.errors import Draining
from server.version import VERSION

router = APIRouter(tags=["operation"])
_NOT_NOW = problems(503)


@router.get("/livez", response_class=Response, responses=_NOT_NOW)
async def livez(request: Request) -> Response:
    """200 while the process and the engine's thread are alive, whatever the state of the store."""
    if not request.app.state.engine.alive:
        raise NotReady("the engine has stopped; restart the server")
    return Response(status_code=200)


@router.get("/readyz", response_class=Response, responses=_NOT_NOW)
async def readyz(request: Request) -> Response:
    """200 if the server takes requests: weights loaded, store available, not shutting down."""
    await _must_be_ready(request)
    return Response(status_code=200)


@router.get("/health", responses=_NOT_NOW)
async def health(request: Request) -> JSONResponse:
    """`readyz` and `version` in one."""
    await _must_be_ready(request)
    return JSONResponse({"status": "ready", **_identity(request)})


@router.get("/version")
async def version(request: Request) -> JSONResponse:
    """Version of the server, the model that it serves, kind of store and durability."""
    return JSONResponse(_identity(request))


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Metrics in Prometheus' text format."""
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
        raise NotReady("the engine has stopped; restart the server")
    try:
        await state.store.ready()
    except Exception:
        state.metrics.store_up.set(0)
        raise
    state.metrics.store_up.set(1)
