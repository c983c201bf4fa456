"""The commands below `keys`, settings as flags, and what the command line refuses before it loads anything."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from server.__main__ import main
from server.http import api_keys
from server.http.auth import WatchedKeys
from testing.serving import ROOT

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "api_keys.json"


@pytest.fixture
def run(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`python -m server` with these words; its status and what it printed."""
    monkeypatch.setenv("ONCEREAD_KEYS_FILE", str(path))

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["server", *words])
        try:
            status = main()
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, *capsys.readouterr()

    return run


def test_keys_create_list_and_revoke(run: Run, path: Path) -> None:
    status, token, said = run("keys", "create", "--tenant", "acme", "--scopes", "ask,read,ask", "--expires-in", "1.5")
    assert (status, token) == (0, token.strip() + "\n")
    token = token.strip()
    assert re.fullmatch(r"or_[0-9a-f]{16}_[0-9a-f]{64}", token)
    assert token not in said
    assert path.stat().st_mode & 0o777 == 0o600
    (key,) = api_keys.load(path).keys
    assert (key.tenant, key.scopes) == ("acme", ("ask", "read"))
    assert key.expires_at == pytest.approx(key.created_at + 1.5 * 86400)
    assert WatchedKeys(path).identify(token, key.created_at).tenant == "acme"

    assert run("keys", "create", "--tenant", "umbra")[0] == 0
    status, listed, _ = run("keys", "list")
    lines = listed.splitlines()
    assert (status, len(lines)) == (0, 3)
    assert lines[1].split()[:3] == [key.id, "acme", "ask,read"]
    assert lines[1].endswith("valid")
    assert lines[2].split()[1:3] == ["umbra", "read,ask"]
    assert "never" in lines[2]
    assert token[20:] not in listed
    assert key.hmac_sha256 not in listed

    assert run("keys", "revoke", key.id)[0] == 0
    assert run("keys", "list")[1].splitlines()[1].endswith("revoked")
    assert [key.revoked for key in api_keys.load(path).keys] == [True, False]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["create", "--tenant", "a b"], "tenant"),
        (["create", "--tenant", ""], "tenant"),
        (["create", "--tenant", "a", "--scopes", "read,write"], "scopes.1"),
        (["create", "--tenant", "a", "--scopes", ","], "scopes"),
        (["create", "--tenant", "a", "--expires-in", "0"], "--expires-in"),
        (["create", "--tenant", "a", "--expires-in", "nan"], "--expires-in"),
        (["create", "--tenant", "a", "--expires-in", "1e300"], "--expires-in"),
        (["list"], "there is no keys file"),
        (["revoke", "0" * 16], "there is no keys file"),
    ],
)
def test_an_invalid_keys_command_explains_itself_and_creates_no_file(
    run: Run, path: Path, words: list[str], reason: str
) -> None:
    status, printed, said = run("keys", *words)
    assert (status, printed) == (1, "")
    assert said.startswith("onceread: ")
    assert reason in said
    assert not path.exists()


def test_revoking_an_unknown_key_changes_nothing(run: Run, path: Path) -> None:
    run("keys", "create", "--tenant", "a")
    before = path.read_bytes()
    status, _, said = run("keys", "revoke", "0" * 16)
    assert (status, "keys list" in said) == (1, True)
    assert path.read_bytes() == before


def test_keys_commands_need_a_keys_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONCEREAD_KEYS_FILE")
    for words in (["create", "--tenant", "a"], ["list"], ["revoke", "x"]):
        status, _, said = run("keys", *words)
        assert (status, "ONCEREAD_KEYS_FILE=" in said) == (1, True)


@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_setting_may_be_a_flag_before_or_after_the_command(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    monkeypatch.delenv("ONCEREAD_KEYS_FILE")
    words = ["keys", "create", "--tenant", "acme"]
    status, token, _ = run(*words[:before], "--keys-file", str(path), *words[before:])
    assert status == 0
    assert WatchedKeys(path).identify(token.strip(), 0).tenant == "acme"


def test_the_clients_environment_variables_are_accepted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONCEREAD_URL", "http://127.0.0.1:8000")
    monkeypatch.setenv("ONCEREAD_API_KEY", "or_0_0")
    assert run("keys", "create", "--tenant", "acme")[0] == 0
    monkeypatch.setenv("ONCEREAD_URI", "http://127.0.0.1:8000")
    status, _, said = run("keys", "list")
    assert (status, "ONCEREAD_URI" in said) == (2, True)


def test_an_abbreviated_flag_is_refused(run: Run) -> None:
    assert run("--keys", "x")[0] == 2
    assert run("keys", "create", "--ten", "acme")[0] == 2


def test_a_server_without_keys_does_not_start_beyond_loopback(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    status, _, said = run()
    assert (status, "python -m server keys create" in said) == (1, True)
    monkeypatch.delenv("ONCEREAD_KEYS_FILE")
    monkeypatch.setenv("ONCEREAD_HOST", "0.0.0.0")
    for words in ([], ["serve"]):
        status, _, said = run(*words)
        assert status == 1
        assert "anyone who can reach 0.0.0.0" in said
        assert "ONCEREAD_OPEN=true" in said


def test_help_lists_every_command_and_setting(run: Run) -> None:
    status, printed, _ = run("--help")
    assert status == 0
    for word in ("serve", "doctor", "rotate-seal-key", "keys", "ONCEREAD_KEYS_FILE", "ONCEREAD_CONNECTIONS_MAX"):
        assert word in printed
    assert run("nothing")[0] == 2
    assert run("keys")[0] == 2


def test_commands_other_than_serve_do_not_import_torch() -> None:
    words = "import sys, server.__main__; print('torch' in sys.modules)"
    printed = subprocess.run([sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed == "False\n"
