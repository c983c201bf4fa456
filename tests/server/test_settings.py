"""Settings come from the environment and from flags, and nothing else is taken for one."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.cli.flags import add_flags, flags_of
from server.settings import CLIENT_NAMES, GROUPS, Settings, SettingsError

CLIENTS = Path(__file__).resolve().parents[2] / "clients"


def flags(*words: str) -> dict[str, str]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    add_flags(parser)
    return flags_of(parser.parse_args(words))


def test_defaults() -> None:
    settings = Settings.from_environment({"PATH": "/bin"})
    assert (settings.host, settings.port, settings.store) == ("127.0.0.1", 8000, "sqlite:///data")


def test_environment_sets_settings() -> None:
    settings = Settings.from_environment({"ONCEREAD_PORT": "9", "ONCEREAD_WEIGHTS": "here", "ONCEREAD_DEVICE": ""})
    assert (settings.port, str(settings.weights), settings.device) == (9, "here", None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONCEREAD_PROT", "1"), ("ONCEREAD_PORT", "x"), ("ONCEREAD_PORT", "65536"), ("ONCEREAD_IDLE_SECONDS", "-1")],
)
def test_unknown_or_invalid_setting_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_names_of_our_clients_do_not_stop_the_server() -> None:
    environment = {"ONCEREAD_URL": "http://localhost:8000", "ONCEREAD_API_KEY": "or_0_0", "ONCEREAD_PORT": "9"}
    assert Settings.from_environment(environment).port == 9


def test_every_name_that_a_client_reads_is_known_here() -> None:
    sources = [path for kind in ("py", "ts", "html") for path in CLIENTS.rglob(f"*.{kind}")]
    sources = [path for path in sources if "node_modules" not in path.parts]
    read = set(re.findall(r"ONCEREAD_[A-Z_]+", "".join(path.read_text() for path in sources)))
    assert read == CLIENT_NAMES
    assert CLIENT_NAMES.isdisjoint(f"ONCEREAD_{name.upper()}" for name in Settings.model_fields)


def test_every_setting_is_a_flag() -> None:
    for name in Settings.model_fields:
        assert flags(f"--{name.replace('_', '-')}", "7") == {name: "7"}


def test_a_flag_wins_over_the_environment() -> None:
    environment = {"ONCEREAD_PORT": "9", "ONCEREAD_KEYS_FILE": "keys.json"}
    settings = Settings.from_environment(environment, flags("--port", "10", "--keys-file", "", "--open", "true"))
    assert (settings.port, settings.keys_file, settings.open) == (10, None, True)


def test_an_invalid_flag_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="ONCEREAD_PORT"):
        Settings.from_environment({}, flags("--port", "x"))


def test_help_shows_every_setting_with_its_default_and_limits() -> None:
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=1000))
    add_flags(parser)
    shown = parser.format_help()
    for name, field in Settings.model_fields.items():
        assert f"{field.description} [ONCEREAD_{name.upper()}" in shown, name
    assert "[ONCEREAD_PORT, default 8000, at least 0, at most 65535]" in shown
    assert "[ONCEREAD_LOG_LEVEL, default info, one of debug info warning error]" in shown
    assert [name for group in GROUPS for name in group.model_fields] == [
        action.dest for action in parser._actions if action.dest != "help"
    ]


@pytest.mark.parametrize(("cores", "pretrained", "others"), [(1, 1, 1), (2, 2, 1), (8, 8, 7)])
def test_only_a_pretrained_model_has_all_cores_by_default(
    monkeypatch: pytest.MonkeyPatch, cores: int, pretrained: int, others: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    assert Settings().threads_for("episodic") == pretrained
    assert Settings().threads_for("delta") == others
    assert Settings(threads=3).threads_for("episodic") == Settings(threads=3).threads_for("delta") == 3
