"""Settings come from the environment or not at all."""

import pytest
from pydantic import ValidationError

from server.settings import Settings, SettingsError, table


def test_defaults() -> None:
    settings = Settings.from_environment({"PATH": "/bin"})
    assert (settings.host, settings.port, settings.store) == ("127.0.0.1", 8000, "sqlite:///data")


def test_names_are_taken() -> None:
    settings = Settings.from_environment({"ONCEREAD_PORT": "9", "ONCEREAD_WEIGHTS": "here"})
    assert (settings.port, str(settings.weights)) == (9, "here")


@pytest.mark.parametrize(
    ("name", "value"),
    [("ONCEREAD_PROT", "1"), ("ONCEREAD_PORT", "x"), ("ONCEREAD_PORT", "65536"), ("ONCEREAD_IDLE_SECONDS", "-1")],
)
def test_what_is_unknown_or_out_of_bounds_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_environment({name: value})


def test_they_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]


def test_the_help_lists_every_setting() -> None:
    lines = table().splitlines()
    assert len(lines) == len(Settings.model_fields)
    assert all(f"ONCEREAD_{name.upper()}" in line for name, line in zip(Settings.model_fields, lines, strict=True))
