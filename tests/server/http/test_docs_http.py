"""The API's description for people: its files, and that nothing of FastAPI's own pages is left."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.http.files import HEADERS, MEDIA_TYPES
from server.http.routes import docs
from testing.replies import problem
from testing.serving import Server


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        yield server


def test_docs_and_everything_that_it_loads_is_served_under_the_policy(http: httpx.Client) -> None:
    page = http.get("/docs")
    assert page.content == (docs.OWN / "index.html").read_bytes()
    names = re.findall(r'(?:href|src)="(docs/[^"]+)"', page.text)
    assert len(names) > 3
    for reply in (page, *(http.get(f"/{name}") for name in names)):
        assert reply.status_code == 200
        assert reply.content
        for name, value in HEADERS.items():
            assert reply.headers[name] == value
    for name in names:
        assert http.get(f"/{name}").headers["Content-Type"].split(";")[0] == MEDIA_TYPES[Path(name).suffix]
        assert http.head(f"/{name}").status_code == 200


def test_docs_has_nothing_inline_and_names_no_host() -> None:
    for path in docs.OWN.iterdir():
        assert "://" not in path.read_text()
    page = (docs.OWN / "index.html").read_text()
    assert not re.search(r"<style|style=|<script>|\son\w+=", page)


def test_only_files_for_browsers_are_served(http: httpx.Client) -> None:
    assert (docs.SWAGGER_UI / "__init__.py").exists()
    for path in ("/docs/__init__.py", "/docs/", "/docs/oauth2-redirect", "/redoc"):
        problem(http.get(path), 404, "not_found")
    reply = http.post("/docs")
    problem(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"] == "GET, HEAD"
