"""Probes, version and metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from server import VERSION
from server.http import gauges
from server.http.refusals import NotReady
from server.http.routes.shared import TheServices, problems

router = APIRouter(tags=["operation"])
_NOT_NOW = problems(503)


@router.get("/livez", response_class=Response, responses=_NOT_NOW)
async def livez(services: TheServices) -> Response:
    """200 while the process and the engine's thread are alive, whatever the state of the store."""
    if not services.engine.alive:
        raise NotReady("the engine has stopped; restart the server")
    return Response(status_code=200)


@router.get("/readyz", response_class=Response, responses=_NOT_NOW)
async def readyz(services: TheServices) -> Response:
    """200 if the server takes requests: weights loaded, store available, not shutting down."""
    await _must_be_ready(services)
    return Response(status_code=200)


@router.get("/health", responses=problems(421, 503))
async def health(services: TheServices) -> JSONResponse:
    """`readyz` and `version` in one."""
    await _must_be_ready(services)
    return JSONResponse({"status": "ready", **_identity(services)})


@router.get("/version", responses=problems(421))
async def version(services: TheServices) -> JSONResponse:
    """Version of the server, the model that it serves with its limits, kind of store and durability."""
    return JSONResponse(_identity(services))


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(services: TheServices) -> Response:
    """Metrics in Prometheus' text format."""
    await gauges.look(services.metrics, services.engine, services.readers, services.store)
    return Response(services.metrics.text(), media_type="text/plain; version=0.0.4")


def _identity(services: TheServices) -> dict[str, object]:
    config, settings = services.loaded.model.config, services.settings
    return {
        "version": VERSION,
        "model": services.loaded.name,
        "fingerprint": services.loaded.fingerprint,
        "store": services.settings.store.partition(":")[0],
        "durability": services.sessions.durability,
        "extracts": list(services.extraction.kinds),
        "limits": {
            "segment_tokens": config.segment_tokens,
            "memory_tokens": config.capacity_tokens if config.mechanism == "episodic" else None,
            "question_characters": settings.question_characters,
            "answer_tokens": settings.answer_tokens_max,
        },
    }


async def _must_be_ready(services: TheServices) -> None:
    services.admission.must_not_drain()
    if not services.engine.alive:
        raise NotReady("the engine has stopped; restart the server")
    try:
        await services.store.ready()
    except Exception:
        services.metrics.store_up.set(0)
        raise
    services.metrics.store_up.set(1)
