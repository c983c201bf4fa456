"""Names of a server: how they are read, and which it takes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.http.browser_guard import BrowserGuard
from server.http.hosts import AllowedHosts, Host, is_loopback, parse_host
from server.settings import Settings, SettingsError

LABELS = st.from_regex(r"[a-z0-9_]([a-z0-9_-]{0,20}[a-z0-9_])?", fullmatch=True)
NAMES = st.lists(LABELS, min_size=1, max_size=5).map(".".join)
ADDRESSES = st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(lambda address: f"[{address}]")
PORTS = st.none() | st.integers(0, 65535)
HOSTS = st.builds(Host, NAMES | ADDRESSES, PORTS)


@given(HOSTS)
def test_a_host_is_read_back_as_it_was_written(host: Host) -> None:
    assert parse_host(str(host)) == host
    assert parse_host(str(host).upper()) == host


@given(NAMES)
def test_a_name_with_the_root_dot_is_the_same_name(name: str) -> None:
    assert parse_host(f"{name}.") == parse_host(name)


@given(st.text(max_size=40) | st.text("a1.:[]@/\\ ,*%-", max_size=12))
def test_any_text_is_a_host_or_none(text: str) -> None:
    host = parse_host(text)
    if host is not None:
        assert parse_host(str(host)) == host
        assert not set(host.name) & set(" ,/@\\*%")
        assert is_loopback(host.name) in (False, True)


@pytest.mark.parametrize(
    "text",
    ["", ":80", ".", "a..b", ".a", "a:", "a:b", "a:65536", "a:1:2", "a:+1", "a:٣", "a b", "u@localhost", "localhost/",
     "localhost,evil.example", "http://localhost", "*", "::1", "[::1", "::1]", "[]", "[::1]x", "[::1%eth0]",
     "[127.0.0.1]", "[v1.x]", "lo\u212aalhost", "a" * 254],
)  # fmt: skip
def test_what_is_no_host(text: str) -> None:
    assert parse_host(text) is None


def test_an_ipv6_address_has_one_form() -> None:
    assert parse_host("[0:0::0001]:80") == Host("[::1]", 80)


@given(st.integers(0, 2**24 - 1))
def test_every_address_of_127_is_loopback(rest: int) -> None:
    assert is_loopback(str(IPv4Address((127 << 24) + rest)))


@given(st.ip_addresses(v=4).filter(lambda address: address.packed[0] != 127))
def test_no_other_address_is_loopback(address: IPv4Address) -> None:
    assert not is_loopback(str(address))
    assert not is_loopback(f"[{IPv6Address(f'::ffff:{address}')}]")


@given(NAMES)
def test_only_localhost_and_the_names_below_it_are_loopback(name: str) -> None:
    assert is_loopback(f"{name}.localhost")
    for other in (f"{name}localhost", f"localhost.{name}x", f"127.0.0.1.{name}x"):
        assert not is_loopback(other)


def allowed(host: str, named: str = "", listening: str = "127.0.0.1") -> bool:
    parsed = parse_host(host)
    assert parsed is not None
    return AllowedHosts(listening, named).allow(parsed)


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "localhost.", "a.b.localhost:1", "127.9.9.9", "[::1]"])
@pytest.mark.parametrize("listening", ["127.0.0.1", "0.0.0.0", "::", "", "192.0.2.1"])
def test_loopback_names_are_always_allowed(host: str, listening: str) -> None:
    assert allowed(host, listening=listening)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "evillocalhost", "127.0.0.1.evil.example", "192.0.2.1", "[::2]"]
)
def test_other_names_are_not(host: str) -> None:
    assert not allowed(host)


def test_the_address_that_the_server_listens_on_is_allowed_if_it_is_one() -> None:
    assert allowed("192.0.2.1:9", listening="192.0.2.1")
    assert allowed("[2001:db8::1]:9", listening="2001:DB8:0::1")
    assert allowed("books.example", listening="Books.example")
    assert not allowed("192.0.2.2", listening="192.0.2.1")
    # Browsers take 0.0.0.0 to their own machine.
    assert not allowed("0.0.0.0:8000", listening="0.0.0.0")
    assert not allowed("[::]:8000", listening="::")
    assert not allowed("[::]:8000", listening="0::0")


def test_named_hosts_are_allowed_at_the_named_port_or_at_every_port() -> None:
    named = "Books.example, notes.example:8000 ,[2001:db8::1]:80, 192.0.2.7"
    for host in ("books.example", "books.example:1", "notes.example:8000", "[2001:db8:0::1]:80", "192.0.2.7:5"):
        assert allowed(host, named), host
    for host in ("notes.example", "notes.example:80", "a.books.example", "[2001:db8::1]", "xbooks.example"):
        assert not allowed(host, named), host


def test_a_wildcard_allows_the_names_below_one() -> None:
    assert allowed("a.books.example:1", "*.books.example")
    assert allowed("a.b.books.example", "*.books.example")
    assert allowed("a.books.example:1", "*.books.example:1")
    for host in ("books.example", "xbooks.example", "a.books.example.evil.example"):
        assert not allowed(host, "*.books.example")
    assert not allowed("a.books.example:2", "*.books.example:1")


@given(HOSTS)
def test_a_star_allows_any_host_and_a_named_host_itself_alone(host: Host) -> None:
    assert allowed(str(host), "a.example, *")
    assert allowed(str(host), str(host))
    assert allowed("evil.example", str(host)) == (host.name == "evil.example" and host.port is None)


@pytest.mark.parametrize("entry", [",", "a,", "http://a", "a/b", "a b", "**", "a.*", "*.", "*.[::1]", "::1", "a:b"])
def test_an_invalid_entry_of_hosts_is_an_invalid_setting(entry: str) -> None:
    for settings in (Settings(hosts=entry), Settings(hosts=entry, keys_file=Path("keys.json"))):
        with pytest.raises(SettingsError, match=r"ONCEREAD_HOSTS.*is no host"):
            BrowserGuard.of(settings)
