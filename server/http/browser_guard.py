"""Keeps other people's web pages out of a server that requires no key.

A browser sends requests for any page that it shows, to any server that it can reach. A page whose name an attacker
resolves to this server's address (DNS rebinding) would be of the server's own origin: so the `Host` must be a name of
this server. A page of another origin cannot read responses, but can send forms and text: so what changes something must
come from an own page, or from a client that is no browser and sends neither `Origin` nor `Sec-Fetch-Site`.
"""

from __future__ import annotations

from typing import Self

from starlette.datastructures import Headers

from server.http.hosts import AllowedHosts, Host, parse_host
from server.http.origins import Origin, parse_origin, parse_origins
from server.http.refusals import HostNotAllowed, OriginNotAllowed
from server.settings import ListenSettings

# Probes and Prometheus call these by address; they have no text and change nothing.
_UNGUARDED = frozenset(("/livez", "/readyz", "/metrics"))
_CHANGES_NOTHING = frozenset(("GET", "HEAD", "OPTIONS"))


class BrowserGuard:
    def __init__(self, hosts: AllowedHosts, origins: frozenset[Origin]) -> None:
        self._hosts, self._origins = hosts, origins

    @classmethod
    def of(cls, settings: ListenSettings) -> Self | None:
        """The guard, or None where keys guard the server: a browser adds no key to another page's request.

        `SettingsError` if an entry of `hosts` or `origins` is not valid.
        """
        guard = cls(AllowedHosts(settings.host, settings.hosts), parse_origins(settings.origins))
        return guard if settings.keys_file is None else None

    def check(self, method: str, path: str, headers: Headers) -> None:
        """Raises `HostNotAllowed` or `OriginNotAllowed`."""
        if path in _UNGUARDED:
            return
        host = self._host(headers.getlist("host"))
        if method not in _CHANGES_NOTHING:
            self._must_be_of_an_allowed_page(headers, host)

    def _host(self, values: list[str]) -> Host:
        host = parse_host(values[0]) if len(values) == 1 else None
        if host is None:
            raise HostNotAllowed("a request needs one header Host with the server's name and port; send it")
        if not self._hosts.allow(host):
            raise HostNotAllowed(
                f"{host.name} is not a name of this server, which requires no key and so answers only under known "
                f"names; use 127.0.0.1 or localhost, or have the operator add {host.name} to ONCEREAD_HOSTS or require "
                "keys (ONCEREAD_KEYS_FILE)"
            )
        return host

    def _must_be_of_an_allowed_page(self, headers: Headers, host: Host) -> None:
        origins = headers.getlist("origin")
        if not all(self._allows(parse_origin(origin), host) for origin in origins):
            raise OriginNotAllowed(
                "a page of another origin may not change anything on this server, which requires no key; have the "
                "operator add the page's origin to ONCEREAD_ORIGINS, or require keys (ONCEREAD_KEYS_FILE)"
            )
        sites = headers.getlist("sec-fetch-site")
        if not origins and not {"same-origin", "none"}.issuperset(sites):
            raise OriginNotAllowed(
                "the browser says that a page of another site sent this request, and not which; have the page send "
                "it with its Origin, and the operator add that to ONCEREAD_ORIGINS"
            )

    def _allows(self, origin: Origin | None, host: Host) -> bool:
        return origin is not None and (origin.is_at(host) or origin in self._origins)
