"""Where the server is, with which key, and how patient the client is; and what a failed connection means.

It knows the environment and httpx's errors, and nothing of requests' contents.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx

from onceread import errors
from onceread.wire.retrying import Retries
from onceread.wire.steps import Request

DEFAULT_URL = "http://127.0.0.1:8000"
CONNECT_SECONDS = 10.0

try:
    VERSION = version("onceread-client")
except PackageNotFoundError:
    VERSION = "0"

HEADERS = {"User-Agent": f"onceread-client/{VERSION}"}


@dataclass(frozen=True)
class Settings:
    """`silence_seconds`: how long the server may say nothing; None: as long as suits the request.

    There is no bound on how long anything takes as long as bytes come.
    """

    url: str
    api_key: str | None = field(default=None, repr=False)
    silence_seconds: float | None = None
    retries: Retries = field(default_factory=Retries)

    @classmethod
    def of(cls, url: str | None, api_key: str | None, silence_seconds: float | None, retries: Retries) -> Settings:
        """What was given, else what the environment says in `ONCEREAD_URL` and `ONCEREAD_API_KEY`."""
        url = url or os.environ.get("ONCEREAD_URL") or DEFAULT_URL
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address of a server; write it like {DEFAULT_URL}")
        return cls(url, api_key or os.environ.get("ONCEREAD_API_KEY") or None, silence_seconds, retries)

    @property
    def authorization(self) -> dict[str, str]:
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}


def arguments(settings: Settings, request: Request) -> dict[str, Any]:
    """The request as httpx takes it."""
    silence_seconds = settings.silence_seconds or request.silence_seconds
    return {
        "method": request.method,
        "url": request.path,
        "headers": request.headers,
        "params": request.params,
        "content": request.content,
        "timeout": httpx.Timeout(silence_seconds, connect=CONNECT_SECONDS),
    }


def connection_failed(url: str, error: Exception) -> errors.ConnectionFailed:
    """The error that says so in the words of this package."""
    if isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)):
        return errors.ConnectionFailed(
            f"there is no connection to {url} ({_said(error)}); is a server running there? ONCEREAD_URL names another",
            maybe_arrived=False,
        )
    if isinstance(error, httpx.TimeoutException):
        return errors.ConnectionFailed(f"{url} said nothing for too long ({_said(error)}); ask for the session's state")
    return errors.ConnectionFailed(f"the connection to {url} broke off ({_said(error)}); ask for the session's state")


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
