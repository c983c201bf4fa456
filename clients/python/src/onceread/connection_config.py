"""The server's address, the key and the timeouts, from arguments or the environment; the errors of connections."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from onceread import errors
from onceread.wire.retries import Retries
from onceread.wire.steps import Request

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS = 10.0

try:
    VERSION = version("onceread-client")
except PackageNotFoundError:
    VERSION = "0"

HEADERS = {"User-Agent": f"onceread-client/{VERSION}"}


@dataclass(frozen=True)
class ConnectionConfig:
    """`silence_seconds`: how long the server may send nothing; None: as long as the request allows.

    The whole time of a call has no limit while bytes come.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    silence_seconds: float | None = None
    retries: Retries = field(default_factory=Retries)

    @classmethod
    def of(
        cls, url: str | None, api_key: str | None, silence_seconds: float | None, retries: Retries
    ) -> ConnectionConfig:
        """The arguments; where one is missing, `ONCEREAD_URL` or `ONCEREAD_API_KEY`."""
        url = url or os.environ.get("ONCEREAD_URL") or DEFAULT_URL
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is not the address of a server; write it like {DEFAULT_URL}")
        return cls(url, api_key or os.environ.get("ONCEREAD_API_KEY") or None, silence_seconds, retries)

    @property
    def authorization(self) -> dict[str, str]:
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}


def arguments(config: ConnectionConfig, request: Request) -> dict[str, Any]:
    """The arguments of httpx's `request` and `stream`."""
    silence_seconds = config.silence_seconds or request.silence_seconds
    return {
        "method": request.method,
        "url": request.path,
        "headers": request.headers,
        "params": request.params,
        "content": request.content,
        "timeout": httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS),
    }


def connection_failed(url: str, error: Exception) -> errors.ConnectionFailed:
    """The error of httpx as one of this package."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)):
        return errors.ConnectionFailed(
            f"cannot connect to {url} ({_text(error)}); is a server running there? ONCEREAD_URL sets another address",
            maybe_arrived=False,
        )
    if isinstance(error, httpx.TimeoutException):
        return errors.ConnectionFailed(f"{url} sent nothing for too long ({_text(error)}); ask for the session's state")
    return errors.ConnectionFailed(f"the connection to {url} broke off ({_text(error)}); ask for the session's state")


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__
