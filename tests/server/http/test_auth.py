"""API keys: which token gives which identity, what each scope allows, and a keys file that changes while in use."""

from __future__ import annotations

import hmac
import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from server.app import ROUTERS, build_app
from server.http import api_keys
from server.http.admission import Admission
from server.http.auth import ANONYMOUS, Auth, Identity, WatchedKeys, must_be_allowed, must_be_guarded
from server.http.gate import Gate
from server.http.permissions import CALLS, SCOPES, Call, Scope, call_of, is_open
from server.http.problems import error_response
from server.http.refusals import InvalidApiKey, NotAllowed
from server.http.routes import page
from server.http.routes.shared import TheTenant
from server.observability.metrics import Metrics
from server.settings import Settings, SettingsError

NOW = 1_000_000.0
SEGMENTS = st.sampled_from(["v1", "sessions", "a", "text", "queries", "snapshots", "memory", "restore", "models", ""])
PATHS = st.lists(SEGMENTS, max_size=7).map(lambda segments: "/" + "/".join(segments))
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])


def matches(call: Call, method: str, path: str) -> bool:
    """Obviously right: piece by piece, a name where the table has one in braces."""
    wanted, given = call.path.split("/"), path.split("/")
    return (
        call.method == method
        and len(wanted) == len(given)
        and all(there == here or (there.startswith("{") and here) for there, here in zip(wanted, given, strict=True))
    )


@given(METHODS, PATHS)
def test_permissions_find_the_call_of_every_method_and_path(method: str, path: str) -> None:
    assert call_of(method, path) == next((call for call in CALLS if matches(call, method, path)), None)


@given(st.sampled_from(CALLS), st.text(st.characters(exclude_characters="/"), min_size=1))
def test_permissions_match_the_same_paths_as_the_router(call: Call, name: str) -> None:
    path = call.path.replace("{id}", name).replace("{name}", name).replace("{model}", name)
    found = call_of(call.method, path)
    # The router matches no line's end within a name, so neither do we.
    assert found == call


def test_every_route_has_a_row_in_the_permissions() -> None:
    served = [route for router in (build_app(), *ROUTERS, page.router) for route in router.routes]
    routes = {(method, route.path) for route in served if isinstance(route, Route) for method in route.methods or ()}
    assert len(routes) > 20
    assert routes <= {(call.method, call.path) for call in CALLS} | {
        (method, path) for method, path in routes if is_open(path)
    }


def test_deletion_export_and_restore_need_the_scope_admin() -> None:
    for call in CALLS:
        if call.method == "DELETE" or call.path.endswith(("/memory", "/restore", "/rebuild")):
            assert call.scope == "admin", call
        else:
            assert call.scope != "admin", call


@given(st.frozensets(st.sampled_from(SCOPES)), st.sampled_from(CALLS))
def test_a_scope_allows_its_calls_and_admin_allows_every_call(scopes: frozenset[str], call: Call) -> None:
    identity = Identity("t", "k", frozenset(scope for scope in SCOPES if scope in scopes))
    if "admin" in scopes or call.scope is None or call.scope in scopes:
        must_be_allowed(identity, call)
    else:
        with pytest.raises(NotAllowed, match=f"lacks the scope {call.scope}"):
            must_be_allowed(identity, call)


@pytest.mark.anyio
async def test_a_route_without_permissions_gets_no_identity() -> None:
    app = FastAPI()

    @app.get("/v1/forgotten")
    @app.get("/v1/sessions")
    async def tenant(tenant: TheTenant) -> str:
        return tenant

    settings = Settings()
    admission = Admission(settings, lambda tenant: None)
    app.add_middleware(
        Gate, browser_guard=None, auth=Auth(None), admission=admission, settings=settings, metrics=Metrics()
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as http:
        statuses = [(await http.get(path)).status_code for path in ("/v1/sessions", "/v1/forgotten", "/v1/nowhere")]
    assert statuses == [200, 500, 404]


EMPTY = api_keys.Keys(pepper="0" * 64)


def with_key(path: Path, tenant: str = "acme", scopes: tuple[Scope, ...] = ("read",)) -> str:
    """The token of a new key in the file."""
    with api_keys.changing(path) as known:
        changed, _, token = known.with_new(tenant, scopes, NOW, None)
        api_keys.save(path, changed)
    return token


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "api_keys.json"


def identified(path: Path, token: str, now: float = NOW) -> Identity:
    return WatchedKeys(path).identify(token, now)


def refused(path: Path, token: str, now: float = NOW) -> str:
    """Why the token is not valid."""
    with pytest.raises(InvalidApiKey) as caught:
        identified(path, token, now)
    assert error_response(caught.value).headers == {"WWW-Authenticate": "Bearer"}
    return caught.value.detail


UNKNOWN = "unknown key; ask the operator for one"


@given(st.data())
def test_only_the_exact_token_is_accepted(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("keys") / "api_keys.json"
    token, other = with_key(path), with_key(path, "umbra", ("ask", "admin"))
    found = identified(path, token)
    assert (found.tenant, found.scopes) == ("acme", frozenset({"read"}))
    assert token not in path.read_text()
    at = data.draw(st.integers(0, len(token) - 1))
    character = data.draw(st.characters(codec="latin-1").filter(lambda character: character != token[at]))
    id_of_one, secret_of_other = token[:20], other[20:]
    for wrong in (token[:at] + character + token[at + 1 :], token[:at], token + character, id_of_one + secret_of_other):
        assert refused(path, wrong) == UNKNOWN


@pytest.mark.parametrize("token", ["", "or_", "or__", "or_0", "x", "é", "or_" + "0" * 16 + "_" + "0" * 64])
def test_a_malformed_token_is_an_invalid_api_key(path: Path, token: str) -> None:
    with_key(path)
    assert refused(path, token) == UNKNOWN


def test_an_expired_or_revoked_key_is_refused(path: Path) -> None:
    changed, key, token = EMPTY.with_new("acme", ("ask",), NOW, NOW + 10)
    api_keys.save(path, changed)
    assert identified(path, token, NOW + 9.999).key_id == key.id
    assert refused(path, token, NOW + 10) == f"the key {key.id} is expired; ask the operator for a new one"
    api_keys.save(path, changed.without(key.id))
    assert refused(path, token) == f"the key {key.id} is revoked; ask the operator for a new one"
    # Without the secret a caller does not learn whether the key was revoked or has expired.
    assert refused(path, token[:-1] + ("0" if token[-1] != "0" else "1")) == UNKNOWN


def test_every_token_takes_one_constant_time_comparison(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = with_key(path)
    compared: list[tuple[str, str]] = []
    compare = hmac.compare_digest

    def noted(one: str, other: str) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    for asked in (token, token[:-1] + "x", "or_" + "0" * 16 + token[19:], "nothing"):
        with suppress(InvalidApiKey):
            identified(path, asked)
    assert len(compared) == 4
    assert all(len(one) == len(other) == 64 for one, other in compared)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "or_0_0"])
def test_a_request_without_a_bearer_token_is_refused(path: Path, header: str | None) -> None:
    with_key(path)
    with pytest.raises(InvalidApiKey, match="Authorization: Bearer KEY"):
        Auth(path).identify(header)


def test_the_bearer_scheme_is_case_insensitive(path: Path) -> None:
    token = with_key(path)
    for scheme in ("Bearer", "bearer", "BEARER"):
        assert Auth(path).identify(f"{scheme} {token}").tenant == "acme"


def test_without_a_keys_file_every_call_is_allowed() -> None:
    assert Auth(None).identify(None) is Auth(None).identify("Bearer x") is ANONYMOUS
    assert (ANONYMOUS.tenant, ANONYMOUS.scopes) == ("default", frozenset(SCOPES))


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def watched(path: Path) -> tuple[WatchedKeys, Clock, str]:
    """A file's keys, the clock that they are looked at by, and the token of the first."""
    token, clock = with_key(path), Clock()
    return WatchedKeys(path, clock), clock, token


def test_the_keys_file_is_checked_at_most_once_a_second(
    path: Path, watched: tuple[WatchedKeys, Clock, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known, clock, first = watched
    second = with_key(path)
    looks: list[Path] = []
    look = Path.stat

    def noted(self: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        looks.append(self)
        return look(self, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", noted)
    clock.now = 0.999
    for _ in range(9):
        assert known.identify(first, NOW)
    with pytest.raises(InvalidApiKey):
        known.identify(second, NOW)
    assert looks == []
    clock.now = 1.0
    for _ in range(9):
        assert known.identify(second, NOW)
    assert looks == [path]


def test_a_damaged_keys_file_leaves_the_previous_keys_in_use(
    path: Path, watched: tuple[WatchedKeys, Clock, str], caplog: pytest.LogCaptureFixture
) -> None:
    known, clock, first = watched
    whole = path.read_bytes()

    def look() -> list[str]:
        caplog.clear()
        for _ in range(3):
            clock.now += 1
            assert known.identify(first, NOW)
        return [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]

    for broken in (b"", b"{", b"[]", whole[:-9], whole.replace(b'"read"', b'"reed"'), whole.replace(b'"keys"', b'"k"')):
        path.write_bytes(broken)
        (message,) = look()
        assert "is damaged" in message
        assert "the previous keys stay in use" in message
        assert "hmac" not in message.replace("hmac_sha256: ", "")
    path.unlink()
    (message,) = look()
    assert "there is no keys file" in message
    path.write_bytes(whole)
    assert look() == []
    second = with_key(path)
    clock.now += 1
    assert known.identify(second, NOW)


def test_damaged_and_missing_keys_files_have_different_errors(path: Path) -> None:
    with pytest.raises(api_keys.KeysError, match="python -m server keys create"):
        api_keys.load(path)
    with_key(path)
    content = json.loads(path.read_bytes())
    path.write_text(json.dumps(content | {"keys": content["keys"] * 2}))
    with pytest.raises(api_keys.KeysError, match="two keys have the same id"):
        api_keys.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(api_keys.KeysError, match="check its permissions"):
        api_keys.load(path)


def test_a_new_keys_file_is_private_and_a_changed_one_keeps_its_mode(path: Path) -> None:
    with_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_change_leaves_the_keys_file_intact(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_key(path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        with_key(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_concurrent_key_creations_are_all_kept(path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        tokens = list(threads.map(lambda number: with_key(path, f"tenant-{number}"), range(32)))
    for number, token in enumerate(tokens):
        assert identified(path, token).tenant == f"tenant-{number}"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_without_keys_a_server_may_listen_on_loopback(host: str) -> None:
    must_be_guarded(Settings(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org", ""])
def test_listening_beyond_loopback_needs_keys_or_the_setting_open(host: str, path: Path) -> None:
    with pytest.raises(SettingsError, match="ONCEREAD_KEYS_FILE"):
        must_be_guarded(Settings(host=host))
    must_be_guarded(Settings(host=host, open=True))
    with pytest.raises(api_keys.KeysError, match="there is no keys file"):
        must_be_guarded(Settings(host=host, open=True, keys_file=path))
    with_key(path)
    must_be_guarded(Settings(host=host, keys_file=path))
