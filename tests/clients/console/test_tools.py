"""The tools that check the page: pinned, from any registry, and strict."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testing.node_tools import CONSOLE, installed, node


def test_the_lock_file_pins_every_package_by_its_hash_and_names_no_registry() -> None:
    package = json.loads((CONSOLE / "package.json").read_text())
    locked = json.loads((CONSOLE / "package-lock.json").read_text())["packages"]
    assert locked.pop("")["devDependencies"] == package["devDependencies"]
    for name, version in package["devDependencies"].items():
        assert locked[f"node_modules/{name}"]["version"] == version
    for entry in locked.values():
        assert entry["dev"]
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry


def test_the_page_needs_no_package() -> None:
    package = json.loads((CONSOLE / "package.json").read_text())
    assert package["private"]
    assert package.keys().isdisjoint({"dependencies", "scripts"})


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ('import { none } from "./none.js"; none();', "TS2307"),
        ("const unused = 1;", "TS6133"),
        ("/** @type {string[]} */ const names = []; names[0].trim();", "TS2532"),
        ("export function loud(text) { return text.toUpperCase(); }", "TS7006"),
        ('document.querySelector("main").remove();', "TS2531"),
    ],
)
def test_the_compiler_finds_a_fault_in_a_module(tmp_path: Path, fault: str, code: str) -> None:
    compiler = installed("typescript/bin/tsc")
    (tmp_path / "module.js").write_text(fault)
    settings = {"extends": str(CONSOLE / "tsconfig.json"), "include": ["module.js"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(settings))
    done = node(compiler, "-p", tmp_path)
    assert code in done.stdout, done.stdout
    assert done.returncode != 0
