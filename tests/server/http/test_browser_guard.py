"""Origins of web pages, and which requests a server without keys takes from them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from server.http.browser_guard import BrowserGuard
from server.http.hosts import Host
from server.http.origins import Origin, cors_options, parse_origin, parse_origins
from server.http.refusals import HostNotAllowed, OriginNotAllowed
from server.settings import Settings, SettingsError
from tests.server.http.test_hosts import ADDRESSES, HOSTS, NAMES, PORTS

SCHEMES = st.sampled_from(["http", "https", "app", "chrome-extension"])
CHANGES = ("POST", "PUT", "PATCH", "DELETE", "CONNECT", "ANY")


@given(SCHEMES, NAMES | ADDRESSES, PORTS)
def test_an_origin_is_read_as_browsers_write_it(scheme: str, name: str, port: int | None) -> None:
    origin = parse_origin(f"{scheme}://{Host(name, port)}")
    assert origin is not None
    assert parse_origin(str(origin).upper()) == origin
    assert str(origin) in (f"{scheme}://{name}", f"{scheme}://{name}:{port}")
    assert str(origin).endswith(f":{port}") == ((scheme, port) not in {("http", 80), ("https", 443), (scheme, None)})


@pytest.mark.parametrize(
    "entry", [",", "null", "*", "notes.example", "https://", "https://a/", "https://a/b", "https://u@a", "https://*.a",
              "https:a", "://a", "1x://a", "https://a https://b", "https://a?b"]
)  # fmt: skip
def test_an_invalid_entry_of_origins_is_an_invalid_setting(entry: str) -> None:
    for settings in (Settings(origins=entry), Settings(origins=entry, keys_file=Path("keys.json"))):
        with pytest.raises(SettingsError, match=r"ONCEREAD_ORIGINS.*is no origin"):
            BrowserGuard.of(settings)


def test_named_origins_are_given_to_cors_as_browsers_write_them() -> None:
    origins = parse_origins("HTTPS://Notes.example:443, http://192.0.2.1:80 ,app://a, https://b:80")
    expected = ["app://a", "http://192.0.2.1", "https://b:80", "https://notes.example"]
    assert cors_options(origins)["allow_origins"] == expected


@given(NAMES, st.sampled_from(["http", "https"]), st.booleans(), st.booleans())
def test_a_page_is_at_a_host_whether_or_not_the_port_of_its_scheme_is_written(
    name: str, scheme: str, in_origin: bool, in_host: bool
) -> None:
    port = {"http": 80, "https": 443}[scheme]
    origin = parse_origin(f"{scheme}://{name}:{port}" if in_origin else f"{scheme}://{name}")
    assert origin is not None
    assert origin.is_at(Host(name, port if in_host else None))
    assert not origin.is_at(Host(name, port + 1))
    assert not origin.is_at(Host(f"x{name}", port))


def guard(**settings: str) -> BrowserGuard:
    made = BrowserGuard.of(Settings.model_validate(settings))
    assert made is not None
    return made


def check(method: str, *headers: tuple[str, str], path: str = "/v1/sessions", **settings: str) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    guard(**settings).check(method, path, Headers(raw=raw))


HERE = ("host", "localhost:8000")
OWN = ("origin", "http://localhost:8000")
FOREIGN = ("origin", "http://evil.example")
NAMED = ("origin", "https://notes.example")


@pytest.mark.parametrize("hosts", [(), (HERE, HERE), (HERE, ("host", "evil.example")), (("host", "localhost,a"),)])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_request_needs_one_host(hosts: tuple[tuple[str, str], ...], method: str) -> None:
    for named in ("", "*"):
        with pytest.raises(HostNotAllowed, match="one header Host"):
            check(method, *hosts, hosts=named)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", *CHANGES])
def test_a_foreign_host_is_refused_whatever_the_method(method: str) -> None:
    with pytest.raises(HostNotAllowed, match=r"evil\.example to ONCEREAD_HOSTS"):
        check(method, ("host", "evil.example:8000"), ("origin", "http://evil.example:8000"))


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_are_not_checked(path: str) -> None:
    check("GET", path=path)
    check("POST", ("host", "10.0.0.7"), FOREIGN, path=path)
    for other in (f"{path}/", f"/v1{path}", path.upper(), "/health", "/version", "/", "/docs", "/openapi.json"):
        with pytest.raises(HostNotAllowed):
            check("GET", ("host", "10.0.0.7"), path=other)


REFUSED: list[tuple[tuple[str, str], ...]] = [
    (FOREIGN,),
    (("origin", "null"),),
    (("origin", ""),),
    (("origin", "http://localhost:3000"),),
    (("origin", "http://localhost"),),
    (("origin", "http://localhost:8000, http://evil.example"),),
    (OWN, FOREIGN),
    (FOREIGN, OWN),
    (NAMED,),
    (("sec-fetch-site", "cross-site"),),
    (("sec-fetch-site", "same-site"),),
    (("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")),
    (("sec-fetch-site", "same-origin, cross-site"),),
    (FOREIGN, ("sec-fetch-site", "same-origin")),
]


@pytest.mark.parametrize("headers", REFUSED)
@pytest.mark.parametrize("method", CHANGES)
def test_a_change_from_another_page_is_refused(method: str, headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(OriginNotAllowed, match="ONCEREAD_ORIGINS"):
        check(method, HERE, *headers)
    for reading in ("GET", "HEAD", "OPTIONS"):
        check(reading, HERE, *headers)


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (OWN,),
        (("origin", "https://LOCALHOST:8000"),),
        (OWN, OWN),
        (OWN, ("sec-fetch-site", "same-origin")),
        (("sec-fetch-site", "same-origin"),),
        (("sec-fetch-site", "none"),),
    ],
)
def test_a_change_from_an_own_page_or_from_no_page_is_allowed(headers: tuple[tuple[str, str], ...]) -> None:
    for method in CHANGES:
        check(method, HERE, *headers)


def test_a_named_page_may_change_something_and_no_other_page_beside_it() -> None:
    check("POST", HERE, NAMED, ("sec-fetch-site", "cross-site"), origins="https://notes.example")
    for origin in ("http://notes.example", "https://notes.example:444", "https://a.notes.example", "null"):
        with pytest.raises(OriginNotAllowed):
            check("POST", HERE, ("origin", origin), origins="https://notes.example")
    with pytest.raises(OriginNotAllowed):
        check("POST", HERE, NAMED, FOREIGN, origins="https://notes.example")


def test_a_named_host_has_its_own_pages() -> None:
    host = ("host", "books.example")
    check("POST", host, ("origin", "https://books.example"), hosts="books.example")
    with pytest.raises(OriginNotAllowed):
        check("POST", host, OWN, hosts="books.example")


@given(HOSTS, SCHEMES)
def test_of_two_hosts_only_the_own_one_may_change_something(other: Host, scheme: str) -> None:
    origin = Origin(scheme, other)
    own = other.name == "localhost" and other.port == 8000
    if own:
        check("POST", HERE, ("origin", str(origin)))
    else:
        with pytest.raises(OriginNotAllowed):
            check("POST", HERE, ("origin", str(origin)))


def test_keys_are_guard_enough() -> None:
    assert BrowserGuard.of(Settings(keys_file=Path("keys.json"))) is None
