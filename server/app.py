"""The application: its routes and middlewares, and its services, started and closed in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import torch
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from model import weights
from model.runtime.precision import set_precision
from server import VERSION
from server.engine.engine import Engine
from server.engine.model_runner import ModelRunner
from server.engine.scheduler import Batch, Scheduler
from server.http.access_log import AccessLog
from server.http.admission import Admission
from server.http.auth import Auth
from server.http.browser_guard import BrowserGuard
from server.http.gate import Gate
from server.http.origins import cors_options, parse_origins
from server.http.problems import METHOD_NOT_ALLOWED, error_response
from server.http.routes import docs, documents, extract, openai, operation, page, queries, sessions, snapshots, text
from server.http.services import Services
from server.ingest.readers import SessionReaders
from server.ingest.sweeper import Sweeper
from server.observability.instrumented_store import InstrumentedStore
from server.observability.metrics import Metrics
from server.observability.tracing import Tracing
from server.sessions.errors import Refusal
from server.sessions.extraction import Extraction
from server.sessions.receipts import Receipts
from server.sessions.service import SessionService
from server.settings import Settings, StoreSettings
from server.store import StoreOptions, open_store
from server.store.open import load_keys
from server.store.redis.topology import Access

log = logging.getLogger("server")
ROUTERS = (
    sessions.router,
    text.router,
    queries.router,
    snapshots.router,
    documents.router,
    extract.router,
    openai.router,
    operation.router,
    docs.router,
)
DESCRIPTION = "Read once, ask forever: text goes into a memory of fixed size, and questions are answered from it."


def build_app(services: Services | None = None) -> FastAPI:
    """The application; without services it only describes itself."""
    # One span per request and no others, and only if a tracer was started.
    spans = TelemetryConfig(operation_spans=False, metrics=False, logs=False, auto_configure=False)
    app = FastAPI(
        title="Onceread", version=VERSION, description=DESCRIPTION, telemetry=spans, docs_url=None, redoc_url=None
    )
    for router in ROUTERS:
        app.include_router(router)
    for kind in (HTTPException, RequestValidationError, Refusal):
        app.add_exception_handler(kind, _answer_error)
    if services is not None:
        if page.is_served(services.settings):
            app.include_router(page.router)
        app.state.services = services
        app.add_middleware(
            Gate,
            browser_guard=BrowserGuard.of(services.settings),
            auth=Auth(services.settings.keys_file),
            admission=services.admission,
            settings=services.settings,
            metrics=services.metrics,
        )
        if origins := parse_origins(services.settings.origins):
            # Around the gate: a preflight has no key, and a refusal must be readable for the page.
            app.add_middleware(CORSMiddleware, **cors_options(origins))
        app.add_middleware(AccessLog)
    return app


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Loads the weights, opens the store and starts the engine; at the end checkpoints every session and closes all."""
    metrics = Metrics()
    tracing = Tracing(settings.traces_url)
    device = None if settings.device is None else torch.device(settings.device)
    loaded = await asyncio.to_thread(weights.load, settings.weights, device)
    torch.set_num_threads(settings.threads_for(loaded.model.config.mechanism))
    ring = await asyncio.to_thread(load_keys, settings.store, settings.seal_keys_file)
    store = InstrumentedStore(await open_store(settings.store, store_options(settings)), metrics)
    plan = await asyncio.to_thread(set_precision, loaded.model, settings.precision)
    log.info("weights: %s", plan)
    scheduler = Scheduler(settings.step_tokens, settings.answers_max, loaded.model.config.segment_tokens)

    def observe(step: Batch, seconds: float) -> None:
        metrics.step_seconds.observe(seconds)

    runner = ModelRunner(loaded.model)
    await asyncio.to_thread(runner.warm_up, settings.step_tokens)
    engine = Engine(runner, scheduler, settings.answers_waiting_max, observe)
    engine.start()
    readers = SessionReaders(store, engine, loaded, settings, metrics)
    receipts = Receipts(ring.derived(b"receipts"))
    service = SessionService(store, readers, engine, loaded, settings, metrics, receipts)
    admission = Admission(settings, service.overload)
    # A token has at least one byte: less text than a segment has tokens cannot change a memory.
    segment_tokens = loaded.model.config.segment_tokens
    sweeper = Sweeper(store, readers, loaded.fingerprint, segment_tokens, settings.sweep_seconds)
    await sweeper.start()
    try:
        yield Services(settings, metrics, loaded, store, engine, readers, service, admission, Extraction(settings))
    finally:
        await sweeper.stop()
        await readers.close()
        engine.stop()
        await store.close()
        await asyncio.to_thread(tracing.close)


def store_options(settings: StoreSettings) -> StoreOptions:
    """The store's options, beside its URL."""
    access = Access(
        settings.store_password_file, settings.store_ca_file, settings.store_certificate_file, settings.store_key_file
    )
    return StoreOptions(settings.durability, settings.seal_keys_file, settings.store_replicas, access)


async def _answer_error(request: Request, error: Exception) -> Response:
    response = error_response(error)
    if (problem := response.problem) is METHOD_NOT_ALLOWED:
        response = replace(response, headers={"Allow": ", ".join(_methods_at(request))})
    state = request.scope.setdefault("state", {})
    state["refusal_code"], request_id = problem.code, state.get("request_id", "")
    body, headers = response.body(request_id), dict(response.headers)
    return JSONResponse(body, problem.status, headers, media_type="application/problem+json")


def _methods_at(request: Request) -> list[str]:
    """The methods of all routes at the request's path."""
    routes = (route for router in (*ROUTERS, page.router) for route in router.routes if isinstance(route, Route))
    found = [route.methods or set() for route in routes if route.path_regex.match(request.scope["path"])]
    return sorted(set().union(*found))
