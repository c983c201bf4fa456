"""The parts of a running server that routes, middlewares and the shutdown use."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import HTTPConnection

from model.weights import LoadedModel
from server.engine.engine import Engine
from server.http.admission import Admission
from server.ingest.readers import SessionReaders
from server.observability.metrics import Metrics
from server.sessions.extraction import Extraction
from server.sessions.service import SessionService
from server.settings import Settings
from server.store.base import Store


@dataclass(frozen=True)
class Services:
    settings: Settings
    metrics: Metrics
    loaded: LoadedModel
    store: Store
    engine: Engine
    readers: SessionReaders
    sessions: SessionService
    admission: Admission
    extraction: Extraction


async def services_of(connection: HTTPConnection) -> Services:
    """The application's services, a dependency of routes."""
    services: Services = connection.app.state.services
    return services
