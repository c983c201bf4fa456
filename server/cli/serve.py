"""Serving: the application on a socket, until SIGTERM or SIGINT, which lets running answers end first.

It knows processes and signals; what is served, the application knows.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
from contextlib import suppress
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI

from server.app import build_app, running
from server.http.protocol import Connection, Watch
from server.settings import Settings

log = logging.getLogger("server")
# Open files that are no connections of clients: the store's and its own.
OTHER_FILES = 256


class DrainingServer(uvicorn.Server):
    """A uvicorn server that, told to end, first lets running answers end while new work is refused."""

    def __init__(self, app: FastAPI, settings: Settings) -> None:
        rejected = app.state.metrics.rejected

        def connection(**options: Any) -> Connection:
            return Connection(settings, lambda code: rejected.labels(reason=code).inc(), **options)

        super().__init__(
            uvicorn.Config(
                app,
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
                callback_notify=self._look,
                timeout_notify=0,
            )
        )
        self._app, self._drain_seconds, self._watch = app, settings.drain_seconds, Watch()
        self._drain: asyncio.Task[None] | None = None

    async def _look(self) -> None:
        """Called once a second."""
        self._watch.look(self.server_state.connections)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._drain is not None or not self.started:
            super().handle_exit(sig, frame)
            return
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(self._begin_drain)

    def _begin_drain(self) -> None:
        self._drain = asyncio.ensure_future(self._drained())

    async def _drained(self) -> None:
        service, reading = self._app.state.service, self._app.state.reading
        service.draining = True
        log.info("draining: new work is refused, running answers end")
        closed = asyncio.ensure_future(reading.close())
        with suppress(TimeoutError):
            await asyncio.wait_for(service.answers.answers_end(), self._drain_seconds)
        await closed
        log.info("drained: every memory is stored")
        self.should_exit = True


async def serve(settings: Settings) -> int:
    app = build_app(settings)
    _take_files(settings.connections_max + OTHER_FILES)
    server = DrainingServer(app, settings)
    async with running(app):
        # What is there now stays: to look through all of it again and again would hold up everybody.
        gc.collect()
        gc.freeze()
        try:
            await server.serve()
        except SystemExit:
            # uvicorn has logged why.
            log.error("can not listen: choose another ONCEREAD_HOST or ONCEREAD_PORT, or end what has this one")
            return 1
    return 0 if server.started else 1


def _take_files(files: int) -> None:
    """Lets the process open so many files at once, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = files if hard == resource.RLIM_INFINITY else min(files, hard)
    if most < files:
        log.warning(
            "only %s files may be open, %s are wanted: lower connections_max or raise the limit (ulimit -n)",
            most,
            files,
        )
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
