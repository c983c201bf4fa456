"""docs/API.md against the OpenAPI description: routes, fields, error codes and settings of one are in the other."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from server.app import build_app
from server.http.problems import PROBLEM_TYPES
from server.settings import CLIENT_NAMES, Settings

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "API.md").read_text(encoding="utf-8")
DESCRIBED: dict[str, Any] = build_app().openapi()
METHODS = "GET|POST|PUT|PATCH|DELETE|HEAD"


def test_every_route_is_documented() -> None:
    documented = set(re.findall(rf"`({METHODS}) (/[^`\s]*)`", PAGE))
    described = {(method.upper(), path) for path, methods in DESCRIBED["paths"].items() for method in methods}
    assert documented == described


@pytest.mark.parametrize(
    ("schema", "beginning"),
    [
        ("Session", '{"id": "sess_'),
        ("TextAppended", '{"object": "text.appended"'),
        ("Snapshot", '{"object": "snapshot"'),
    ],
)
def test_every_field_of_a_response_is_documented(schema: str, beginning: str) -> None:
    shown = PAGE[PAGE.index(beginning) :]
    shown = shown[: shown.index("\n\n")]
    for name in _fields(schema):
        assert f'"{name}"' in shown or "{…}" in shown, name


def test_every_field_of_a_question_and_its_answer_is_documented() -> None:
    section = PAGE[PAGE.index("## Questions") : PAGE.index("## Snapshots")]
    for schema in ("Ask", "AnswerOne", "AnswerMany"):
        for name in _fields(schema):
            assert f'"{name}"' in section, name


def test_every_field_of_a_creation_is_documented() -> None:
    for name in _fields("SessionCreate"):
        assert re.search(rf"\b{name}\??[,:}}]", PAGE), name


def test_every_error_code_and_status_is_documented() -> None:
    table = PAGE[PAGE.index("| status | code |") : PAGE.index("## Settings")]
    documented = set(re.findall(r"`([a-z]+_?[a-z_0-9]*)`", table))
    assert documented == {problem_type.code for problem_type in PROBLEM_TYPES}
    for problem_type in PROBLEM_TYPES:
        assert str(problem_type.status) in table


def test_every_documented_setting_exists() -> None:
    for name in set(re.findall(r"ONCEREAD_([A-Z_]+)", PAGE)):
        assert name.lower() in Settings.model_fields or f"ONCEREAD_{name}" in CLIENT_NAMES, name


def _fields(schema: str) -> set[str]:
    """The fields of a schema and of those inside it."""
    found: set[str] = set()
    for name, field in DESCRIBED["components"]["schemas"][schema]["properties"].items():
        found.add(name)
        for inner in re.findall(r"#/components/schemas/(\w+)", str(field)):
            found |= _fields(inner)
    return found
