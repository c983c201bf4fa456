"""Serves the application on a socket until SIGTERM or SIGINT, then drains and stops."""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn

from server.app import build_app, open_services
from server.http.protocol import Connection, ConnectionChecks
from server.http.services import Services
from server.settings import Settings

log = logging.getLogger("server")
# Open files beside clients' connections: the store's and the server's own.
OTHER_FILES = 256


class DrainingServer(uvicorn.Server):
    """A uvicorn server that on a signal refuses new work and finishes in-flight answers before it stops."""

    def __init__(self, services: Services) -> None:
        settings, rejected = services.settings, services.metrics.rejected

        def connection(**options: Any) -> Connection:
            return Connection(settings, lambda code: rejected.labels(reason=code).inc(), **options)

        super().__init__(
            uvicorn.Config(
                build_app(services),
                host=settings.host,
                port=settings.port,
                log_level=settings.log_level,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                http=connection,  # type: ignore[arg-type]  # it calls what it is given, class or not
                ws="none",
                timeout_graceful_shutdown=5,
                timeout_keep_alive=settings.idle_connection_seconds,  # type: ignore[arg-type]  # a timer takes any number
                callback_notify=self._check_connections,
                timeout_notify=0,
            )
        )
        self._services = services
        self._checks = ConnectionChecks()
        self._drain: asyncio.Task[None] | None = None

    async def _check_connections(self) -> None:
        """Called once a second."""
        self._checks.check(self.server_state.connections)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._drain = asyncio.ensure_future(self._drained())

    async def _drained(self) -> None:
        self._services.admission.draining = True
        log.info("draining: new work is refused, in-flight answers finish")
        closed = asyncio.ensure_future(self._services.readers.close())
        with suppress(TimeoutError):
            answers = self._services.sessions.answers
            await asyncio.wait_for(answers.answers_end(), self._services.settings.drain_seconds)
        await closed
        log.info("drained: every session is checkpointed")
        self.should_exit = True


async def serve(settings: Settings) -> int:
    _raise_file_limit(settings.connections_max + OTHER_FILES)
    async with open_services(settings) as services:
        server = DrainingServer(services)
        # What is loaded now stays: collecting it again and again would delay every request.
        gc.collect()
        gc.freeze()
        try:
            await server.serve()
        except SystemExit:
            # uvicorn has logged why.
            log.error("cannot listen: choose another ONCEREAD_HOST or ONCEREAD_PORT, or stop what uses this one")
            return 1
    return 0 if server.started else 1


def _raise_file_limit(files: int) -> None:
    """Raises the limit of open files to `files`, or as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if most < files:
        log.warning(
            "the limit of open files is %s, %s are needed: lower connections_max or raise the limit (ulimit -n)",
            most,
            files,
        )
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
