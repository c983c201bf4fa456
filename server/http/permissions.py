"""Every route of the API in one table: the scope that it requires, its phase for metrics and quotas, and its body."""

from __future__ import annotations

from typing import Literal, NamedTuple

from starlette.routing import compile_path

Scope = Literal["read", "ask", "admin"]
Phase = Literal["text", "queries"]
SCOPES: tuple[Scope, ...] = ("read", "ask", "admin")

# Paths that need no key, and folders of files that need none.
OPEN = frozenset("/ /livez /readyz /health /version /metrics /docs /openapi.json".split())
OPEN_FOLDERS = ("/console/", "/docs/")

_SESSIONS = "/v1/sessions"
_SESSION = f"{_SESSIONS}/{{id}}"


class Call(NamedTuple):
    """`scope` None: any valid key is enough. A long body is limited by its rate alone, not by its size."""

    method: str
    path: str
    scope: Scope | None
    phase: Phase | None = None
    long_body: bool = False


CALLS = (
    Call("GET", _SESSIONS, None),
    Call("POST", _SESSIONS, "read"),
    Call("GET", _SESSION, None),
    Call("PATCH", _SESSION, "read"),
    Call("DELETE", _SESSION, "admin"),
    Call("POST", f"{_SESSION}/text", "read", "text", long_body=True),
    Call("PATCH", f"{_SESSION}/text", "read", "text", long_body=True),
    Call("HEAD", f"{_SESSION}/text", "read"),
    Call("GET", f"{_SESSION}/text", "ask"),
    Call("POST", f"{_SESSION}/queries", "ask", "queries"),
    Call("GET", f"{_SESSION}/documents", "read"),
    Call("DELETE", f"{_SESSION}/documents/{{name:path}}", "admin"),
    Call("GET", f"{_SESSION}/snapshots", "read"),
    Call("POST", f"{_SESSION}/snapshots", "read"),
    Call("GET", f"{_SESSION}/snapshots/{{name}}", "read"),
    Call("DELETE", f"{_SESSION}/snapshots/{{name}}", "admin"),
    Call("POST", f"{_SESSION}/restore", "admin"),
    Call("POST", f"{_SESSION}/rebuild", "admin"),
    Call("GET", f"{_SESSION}/memory", "admin"),
    Call("PUT", f"{_SESSION}/memory", "admin", long_body=True),
    Call("POST", "/v1/extract", "read", long_body=True),
    Call("GET", "/v1/models", "ask"),
    Call("POST", "/v1/chat/completions", "ask", "queries"),
    Call("POST", "/v1/completions", "ask", "queries"),
)
# The router's own patterns, so that both agree on what a path is.
_PATTERNS = tuple((call, compile_path(call.path)[0]) for call in CALLS)


def is_open(path: str) -> bool:
    """Whether anyone may ask for the path, with or without a key."""
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def call_of(method: str, path: str) -> Call | None:
    """The row for a request, or None."""
    return next((call for call, pattern in _PATTERNS if call.method == method and pattern.match(path)), None)
