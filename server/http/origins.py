"""Which web pages may use the server: the setting `origins`, and CORS for them."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from server.http.hosts import Host, parse_host
from server.http.permissions import CALLS
from server.settings import SettingsError

_PORTS = {"http": 80, "https": 443}
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII | re.IGNORECASE)
# What a page may send beyond what every page may, and what it may read of a response: what the routes use.
REQUEST_HEADERS = (
    "Authorization",
    "Content-Digest",
    "Content-Type",
    "Onceread-Receipt",
    "Upload-Offset",
    "X-Request-ID",
    "X-Session-ID",
)
RESPONSE_HEADERS = (
    "Content-Disposition",
    "Idempotent-Replayed",
    "Location",
    "Onceread-Durability",
    "Onceread-Fingerprint",
    "Onceread-Offset",
    "Onceread-Receipt",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "Upload-Applied-Offset",
    "Upload-Complete",
    "Upload-Offset",
    "X-Request-ID",
)


class Origin(NamedTuple):
    """A page's scheme and host (RFC 6454), as browsers write them: in small letters, without the scheme's own port."""

    scheme: str
    host: Host

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}"

    def is_at(self, host: Host) -> bool:
        """Whether the page comes from this host, by whatever scheme: a gateway may add TLS."""
        port = _PORTS.get(self.scheme)
        return (self.host.name, self.host.port or port) == (host.name, host.port or port)


def parse_origin(text: str) -> Origin | None:
    """The origin; None if it is malformed, or `null`."""
    scheme, separator, rest = text.partition("://")
    host = parse_host(rest)
    if not separator or host is None or not _SCHEME.fullmatch(scheme):
        return None
    scheme = scheme.lower()
    return Origin(scheme, host._replace(port=None) if host.port == _PORTS.get(scheme) else host)


def parse_origins(named: str) -> frozenset[Origin]:
    """The setting's entries, which commas separate; `SettingsError` if one is no origin."""
    entries = [entry.strip() for entry in named.split(",")] if named.strip() else []
    origins = {entry: parse_origin(entry) for entry in entries}
    for entry, origin in origins.items():
        if origin is None:
            raise SettingsError(
                f"ONCEREAD_ORIGINS: {entry!r} is no origin; write origins such as https://notes.example, a scheme and "
                "a host, without a path, separated by commas"
            )
    return frozenset(origin for origin in origins.values() if origin is not None)


def cors_options(origins: frozenset[Origin]) -> dict[str, Any]:
    """The arguments of starlette's `CORSMiddleware` for these origins."""
    return {
        "allow_origins": sorted(str(origin) for origin in origins),
        "allow_methods": sorted({call.method for call in CALLS}),
        "allow_headers": REQUEST_HEADERS,
        "expose_headers": RESPONSE_HEADERS,
        # A page that is named may use a server at a private address.
        "allow_private_network": True,
    }
