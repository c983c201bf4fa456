"""The names under which a server may be addressed: `Host` headers, and the setting `hosts`."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from server.settings import SettingsError

_FORM = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)(?::([0-9]{1,5}))?", re.ASCII | re.IGNORECASE)
_ANY = "*"
_BELOW = "*."
_NAME_CHARACTERS_MAX = 253


class Host(NamedTuple):
    """A name in small letters, or an IPv6 address in brackets and its shortest form; and the port, if one is given."""

    name: str
    port: int | None

    def __str__(self) -> str:
        return self.name if self.port is None else f"{self.name}:{self.port}"


def parse_host(text: str) -> Host | None:
    """The host of a `Host` header's value or of an origin (RFC 3986, 3.2); None if it is malformed."""
    found = _FORM.fullmatch(text)
    if found is None or len(found[1]) > _NAME_CHARACTERS_MAX or int(found[2] or 0) > 65535:
        return None
    name = found[1].lower().removesuffix(".")
    if name.startswith("["):
        try:
            name = f"[{ipaddress.IPv6Address(name[1:-1])}]"
        except ValueError:
            return None
    return Host(name, int(found[2]) if found[2] else None)


def is_loopback(name: str) -> bool:
    """Whether a browser resolves the name to its own machine, whatever a name server says."""
    if name == "localhost" or name.endswith(".localhost") or name == "[::1]":
        return True
    try:
        return ipaddress.IPv4Address(name).is_loopback
    except ValueError:
        return False


class AllowedHosts:
    """Loopback names, the address that the server listens on if it is one, and what the setting `hosts` names."""

    def __init__(self, listening: str, named: str) -> None:
        """`SettingsError` if an entry of `named`, which is separated by commas, is no name."""
        self._listening = _address_name(listening)
        entries = [entry.strip() for entry in named.split(",")] if named.strip() else []
        self._any = _ANY in entries
        self._named: set[Host] = set()
        self._parents: set[Host] = set()
        for entry in entries:
            if entry != _ANY:
                self._add(entry)

    def allow(self, host: Host) -> bool:
        """Whether the server may be addressed so; an entry without a port allows every port."""
        if self._any or is_loopback(host.name) or host.name == self._listening:
            return True
        ports = {host.port, None}
        return any(Host(host.name, port) in self._named for port in ports) or any(
            host.name.endswith(f".{parent.name}") and parent.port in ports for parent in self._parents
        )

    def _add(self, entry: str) -> None:
        host = parse_host(entry.removeprefix(_BELOW))
        if host is None or (entry.startswith(_BELOW) and host.name.startswith("[")):
            raise SettingsError(
                f"ONCEREAD_HOSTS: {entry!r} is no host; write names such as notes.example, notes.example:8000 or "
                "[2001:db8::1], separated by commas, *.notes.example for the names below one, or * for any"
            )
        (self._parents if entry.startswith(_BELOW) else self._named).add(host)


def _address_name(listening: str) -> str | None:
    """The address as `Host` headers have it; None where the server listens on every address."""
    host = parse_host(f"[{listening}]" if ":" in listening else listening)
    return None if host is None or host.name in ("0.0.0.0", "[::]") else host.name
