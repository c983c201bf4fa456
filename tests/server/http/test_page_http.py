"""The page and its files over HTTP: types, headers, revalidation, and what is not served."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.app import build_app
from server.http.files import HEADERS, MEDIA_TYPES, BrowserFiles
from server.http.routes import page
from server.settings import Settings
from testing.replies import problem
from testing.serving import Server, client

FILES = sorted(path for path in page.FOLDER.rglob("*") if path.is_file())
POLICY = {
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
}


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with Server(tiny_weights, "memory://") as server:
        yield server


def test_the_page_is_at_the_root(http: httpx.Client) -> None:
    reply = http.get("/")
    assert reply.status_code == 200
    assert reply.content == (page.FOLDER / "index.html").read_bytes()


def test_every_file_is_served_with_its_type_and_the_headers(http: httpx.Client) -> None:
    assert len(FILES) > 3
    for path in FILES:
        reply = http.get(f"/console/{path.relative_to(page.FOLDER)}")
        assert (reply.status_code, reply.content) == (200, path.read_bytes()), path
        assert reply.headers["Content-Type"].split(";")[0] == MEDIA_TYPES[path.suffix]
        assert set(reply.headers["Content-Security-Policy"].split("; ")) == POLICY
        for name, value in HEADERS.items():
            assert reply.headers[name] == value


def test_head_has_the_headers_of_get_and_no_body(http: httpx.Client) -> None:
    for path in ("/", "/console/main.js"):
        got, headed = http.get(path), http.head(path)
        assert (headed.status_code, headed.content) == (200, b"")
        for name in ("Content-Type", "Content-Length", "ETag", "Content-Security-Policy"):
            assert headed.headers[name] == got.headers[name]


def test_a_file_that_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    first = http.get("/console/main.js")
    again = http.get("/console/main.js", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert http.get("/console/main.js", headers={"If-None-Match": '"other"'}).status_code == 200


def test_an_unknown_file_is_a_problem(http: httpx.Client) -> None:
    for path in ("/console/", "/console/none.js", "/console/styles", "/console/main.js/x", f"/console/{'a' * 300}.js"):
        problem(http.get(path), 404, "not_found")
    assert http.head("/console/none.js").status_code == 404


def test_no_other_method_is_taken(http: httpx.Client) -> None:
    for path in ("/", "/console/main.js"):
        reply = http.post(path)
        problem(reply, 405, "method_not_allowed")
        assert reply.headers["Allow"] == "GET, HEAD"


def test_nothing_outside_the_folder_is_served(server: Server) -> None:
    for path in ("../README.md", "../../python/README.md", "..%2f..%2f..%2fREADME.md", "%2fetc%2fpasswd", "a%00.js"):
        head = f"GET /console/{path} HTTP/1.1\r\nHost: {server.url[7:]}\r\nConnection: close\r\n\r\n"
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
            connection.sendall(head.encode())
            assert connection.recv(65536).startswith(b"HTTP/1.1 404 "), path


@given(st.lists(st.sampled_from(["..", ".", "", "/", "inside.js", "link.js", "outside.js", "page"]), max_size=6))
def test_no_path_leads_out_of_the_folder(tmp_path: Path, names: list[str]) -> None:
    folder = tmp_path / "page"
    folder.mkdir(exist_ok=True)
    for path, text in ((folder / "inside.js", "in"), (tmp_path / "outside.js", "out")):
        path.write_text(text)
    (folder / "link.js").unlink(missing_ok=True)
    (folder / "link.js").symlink_to(tmp_path / "outside.js")
    found, _ = BrowserFiles(folder).lookup_path("/".join(names))
    assert found == "" or Path(found).parent == folder


def test_a_file_of_another_type_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "icon.svg").write_text("<svg/>")
    files = BrowserFiles(tmp_path)
    assert files.lookup_path("notes.txt") == ("", None)
    assert files.lookup_path("icon.svg")[1] is not None


def test_the_page_is_not_in_the_description(http: httpx.Client) -> None:
    assert not [path for path in http.get("/openapi.json").json()["paths"] if path == "/" or "console" in path]
    assert "/" not in build_app().openapi()["paths"]


def test_the_page_refers_to_its_own_server_alone() -> None:
    for path in FILES:
        for url in re.findall(r"https?://[^\s\"'`)]+", path.read_text(encoding="utf-8")):
            assert url.startswith("http://www.w3.org/"), (path, url)


def test_without_the_setting_there_is_no_page(tiny_weights: Path) -> None:
    with Server(tiny_weights, "memory://", page="false") as server, client(server) as http:
        for path in ("/", "/console/main.js"):
            problem(http.get(path), 404, "not_found")
            problem(http.post(path), 404, "not_found")


def test_an_installation_without_the_files_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert page.is_served(Settings())
    assert not page.is_served(Settings(page=False))
    assert not caplog.records
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    assert not page.is_served(Settings())
    assert [record.getMessage() for record in caplog.records] == [f"no page at /: its files are not in {tmp_path}"]
