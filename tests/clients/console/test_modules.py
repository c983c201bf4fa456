"""The unit tests of the page's modules, `*.test.js` beside this file, run by node."""

from __future__ import annotations

from pathlib import Path

import pytest

from testing.node_tools import node

FILES = sorted(Path(__file__).parent.glob("*.test.js"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_modules_pass_their_unit_tests(file: Path) -> None:
    done = node("--test", file)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_module_that_fails_its_test_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "wrong.test.js"
    file.write_text("import assert from 'node:assert'; import { test } from 'node:test'; test('x', () => assert(0));")
    assert node("--test", file).returncode == 1
