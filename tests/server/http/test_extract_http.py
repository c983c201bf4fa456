"""Files as text over HTTP: every kind, files that cannot be read, and the limits of the processes that read them."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import httpx
import pytest

from onceread.cli.extractors import FORMATS
from server.sessions import extraction
from testing.replies import eventually, problem
from testing.serving import ROOT, Server, client
from tests.clients import documents

SOURCE = ROOT / "clients" / "python" / "src"
FILE_BYTES = 8 << 20
# Markdown that takes minutes.
SLOW = b"![[" * 1_000_000
HOME = "Mary went home."


def started(weights: Path, *path: Path, **settings: str) -> Server:
    """A server whose processes import from `path` too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, path)))
        return Server(weights, "memory://", **settings)


@pytest.fixture(scope="module")
def server(tiny_weights: Path) -> Iterator[Server]:
    with started(tiny_weights, SOURCE, extract_bytes=str(FILE_BYTES), extract_seconds="600") as server:
        yield server


@pytest.fixture
def quick(tiny_weights: Path) -> Iterator[Server]:
    """A server whose extractors have a second."""
    with started(tiny_weights, SOURCE, extract_seconds="1") as server:
        yield server


def sent(http: httpx.Client, name: str, content: bytes, media_type: str = "application/octet-stream") -> httpx.Response:
    return http.post("/v1/extract", params={"name": name}, content=content, headers={"Content-Type": media_type})


def begun(server: Server, name: str = "a.md", content: bytes = SLOW) -> socket.socket:
    """The connection of a request whose file the server has, or is about to have."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    head = f"POST /v1/extract?name={name} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nExpect: 100-continue\r\n"
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode())
    assert connection.recv(1 << 16).startswith(b"HTTP/1.1 100 ")
    connection.sendall(content)
    return connection


def afresh(server: Server) -> Server:
    """The server, not forked: Python reads `sitecustomize` where it starts."""
    server.forks = False
    return server


def hidden(folder: Path, module: str) -> Path:
    """A folder that Python is started with, so that it does not find the module."""
    (folder / "sitecustomize.py").write_text(f"import sys; sys.modules[{module!r}] = None")
    return folder


def children(server: Server) -> set[int]:
    """The processes that the server has started and that have not ended."""
    found = set()
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split() if _is_running(int(pid))}
    return found


def _is_running(pid: int) -> bool:
    try:
        return re.search(r"^State:\s+Z", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) is None
    except (FileNotFoundError, ProcessLookupError):
        return False


def bomb(path: Path, length_bytes: int) -> bytes:
    """A small book whose only chapter is long."""
    documents.epub(path, "<p>x</p>")
    with ZipFile(path) as book:
        entries = {name: book.read(name) for name in book.namelist()}
    with ZipFile(path, "w", ZIP_DEFLATED, compresslevel=1) as book:
        for name, value in entries.items():
            with book.open(name, "w", force_zip64=True) as entry:
                if "chapter" in name:
                    for _ in range(length_bytes >> 20):
                        entry.write(b"<p>" + b"\0" * ((1 << 20) - 3))
                else:
                    entry.write(value)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", sorted(FORMATS))
def test_every_kind_of_file_becomes_text(http: httpx.Client, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"Ein Büch.{suffix}"
    match FORMATS[suffix]:
        case "docx":
            documents.docx(path, documents.paragraph(HOME))
        case "epub":
            documents.epub(path, f"<p>{HOME}</p>")
        case "pdf":
            documents.pdf(path, HOME)
        case "html":
            path.write_text("<p>Mary <b>went</b> home.</p>")
        case "markdown":
            path.write_text("Mary *went* home.")
    for name in (f"Ein Büch{suffix}", f"a.b{suffix.upper()}"):
        reply = sent(http, name, path.read_bytes())
        assert (reply.status_code, reply.text.strip()) == (200, HOME)
        assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert reply.headers["Cache-Control"] == "no-store"


def test_any_content_type_is_taken(http: httpx.Client) -> None:
    for media_type in ("text/html; charset=utf-8", "application/pdf", "a/b"):
        assert sent(http, "a.html", b"<p>Mary.</p>", media_type).text == "Mary.\n"


def test_text_is_utf_8(http: httpx.Client) -> None:
    assert sent(http, "a.html", "<p>Été, 日本</p>".encode()).content.decode() == "Été, 日本\n"


def test_every_suffix_of_the_client_is_known_and_no_other() -> None:
    assert extraction.SUFFIXES.keys() == FORMATS.keys()
    kinds = {suffix: FORMATS[f".{kind}"] for suffix, kind in extraction.SUFFIXES.items()}
    assert kinds == FORMATS


def test_the_version_lists_the_kinds(http: httpx.Client) -> None:
    for path in ("/version", "/health"):
        assert http.get(path).json()["extracts"] == ["docx", "epub", "html", "md", "pdf"]


@pytest.mark.parametrize("name", ["a.odt", "a", ".docx", "docx", "a.docx.gz", "a.pdf "])
def test_another_kind_is_a_415_that_names_those_there_are(http: httpx.Client, name: str) -> None:
    detail = problem(sent(http, name, b"text"), 415, "unsupported_media_type")["detail"]
    assert all(suffix in detail for suffix in FORMATS)


def test_a_name_is_required(http: httpx.Client) -> None:
    problem(http.post("/v1/extract", content=b"text"), 422, "invalid_field", "name")
    problem(sent(http, "a\0.pdf", b"text"), 422, "invalid_field", "name")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.docx", b"no archive", "the file is not a valid Word document"),
        ("a.docx", b"\xd0\xcf\x11\xe0", "the file is encrypted, or of Word 97 to 2003"),
        ("a.epub", b"no archive", "the file is not a valid EPUB book"),
        ("a.pdf", b"no pdf", "the file is not a valid PDF file"),
        ("a.html", b"\xff", "the file: byte 0 is not utf-8"),
        ("a.md", "Été. ".encode("utf-16") * 40, "convert it to UTF-8, perhaps from utf-16"),
    ],
)
def test_a_damaged_file_is_refused_in_the_extractors_words(
    http: httpx.Client, name: str, content: bytes, said: str
) -> None:
    detail = problem(sent(http, name, content), 422, "not_extractable")["detail"]
    assert said in detail
    assert "--encoding" not in detail


def test_a_large_file_is_refused(http: httpx.Client) -> None:
    problem(sent(http, "a.html", b" " * (FILE_BYTES + 1)), 413, "body_too_large")
    assert sent(http, "a.html", b" " * FILE_BYTES).status_code == 200


def test_a_large_text_is_refused(http: httpx.Client, tmp_path: Path) -> None:
    content = documents.docx(tmp_path / "a.docx", documents.paragraph("a" * FILE_BYTES)).read_bytes()
    assert len(content) < FILE_BYTES // 100
    problem(sent(http, "a.docx", content), 422, "not_extractable")


def test_a_file_that_needs_much_memory_is_refused(http: httpx.Client, tmp_path: Path) -> None:
    content = bomb(tmp_path / "a.epub", extraction.MEMORY_BYTES)
    assert len(content) < FILE_BYTES
    assert "1024 MiB of memory" in problem(sent(http, "a.epub", content), 422, "not_extractable")["detail"]


def test_a_slow_file_is_refused_and_its_process_killed(quick: Server) -> None:
    with client(quick) as http:
        assert "took more than 1 s" in problem(sent(http, "a.md", SLOW), 422, "not_extractable")["detail"]
        assert not children(quick)


def test_a_process_ends_with_its_client(server: Server) -> None:
    connection = begun(server)
    eventually(lambda: children(server))
    connection.close()
    eventually(lambda: not children(server))


def test_a_process_does_not_outlive_its_time_where_the_server_was_killed(quick: Server) -> None:
    with ThreadPoolExecutor() as pool, client(quick) as http:
        pending = pool.submit(sent, http, "a.md", SLOW)
        (pid,) = eventually(lambda: children(quick))
        quick.kill()
        with pytest.raises(httpx.TransportError):
            pending.result()
        eventually(lambda: not _is_running(pid))


def test_two_processes_run_at_once_for_eight_files(server: Server) -> None:
    connections = [begun(server) for _ in range(extraction.FILES_MAX)]
    with client(server) as http:
        assert problem(sent(http, "a.html", b"<p>x"), 429, "overloaded")
    before = eventually(lambda: found if len(found := children(server)) == extraction.PROCESSES_MAX else None)
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    after = eventually(lambda: found if killed not in (found := children(server)) and len(found) > 1 else None)
    assert len(before | after) == extraction.PROCESSES_MAX + 1
    answers = [connection.recv(1 << 16) for connection in select.select(connections, [], [], 60)[0]]
    assert len(answers) == 1
    assert b"422 " in answers[0]
    assert b"the extractor failed at this file" in answers[0]
    for connection in connections:
        connection.close()
    eventually(lambda: not children(server))
    with client(server) as http:
        assert sent(http, "a.html", b"<p>x").text == "x\n"


def test_neither_a_files_name_nor_its_text_is_logged_or_listed(server: Server) -> None:
    connection = begun(server, "pretzel.md", b"zebra " + SLOW)
    (pid,) = eventually(lambda: children(server))
    assert b"pretzel" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    connection.close()
    eventually(lambda: not children(server))
    with client(server) as http:
        assert sent(http, "pretzel.md", b"zebra").text == "zebra\n"
        problem(sent(http, "pretzel.pdf", b"zebra"), 422, "not_extractable")
    eventually(lambda: sum("/v1/extract" in line for line in server.log) > 2)
    assert not [line for line in server.log if "pretzel" in line or "zebra" in line]


def test_without_the_client_nothing_is_extracted(tiny_weights: Path, tmp_path: Path) -> None:
    without = hidden(tmp_path, "onceread")
    with afresh(started(tiny_weights, without, SOURCE)) as server, client(server) as http:
        assert http.get("/version").json()["extracts"] == []
        for suffix, kind in (("docx", "[docx]"), ("xhtml", "[html]"), ("md", "")):
            detail = problem(sent(http, f"a.{suffix}", b"text"), 415, "unsupported_media_type")["detail"]
            assert f"pip install './clients/python{kind}'" in detail
            assert "needs onceread" in detail


def test_a_kind_whose_library_is_missing_is_not_extracted(tiny_weights: Path, tmp_path: Path) -> None:
    without = hidden(tmp_path, "mammoth")
    with afresh(started(tiny_weights, without, SOURCE)) as server, client(server) as http:
        assert http.get("/version").json()["extracts"] == ["epub", "html", "md", "pdf"]
        detail = problem(sent(http, "a.docx", b"text"), 415, "unsupported_media_type")["detail"]
        assert "needs mammoth" in detail
        assert sent(http, "a.md", b"text").text == "text\n"


def test_the_server_finds_the_client_without_importing_it() -> None:
    code = "import sys; from server.sessions.extraction import Extraction; from server.settings import Settings; "
    code += "print(Extraction(Settings()).kinds, [name for name in sys.modules if name.startswith('onceread')])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "('docx', 'epub', 'html', 'md', 'pdf') []\n", done.stderr


@pytest.mark.parametrize("kind", sorted(extraction.LIBRARIES))
def test_the_libraries_of_a_kind_are_those_of_the_clients_extra(kind: str) -> None:
    project = tomllib.loads((ROOT / "clients" / "python" / "pyproject.toml").read_text())["project"]
    required = project["dependencies"] if kind == "md" else project["optional-dependencies"][kind]
    names = {re.split(r"[>=]", name)[0].removesuffix("-py").replace("-", "_") for name in required}
    assert set(extraction.LIBRARIES[kind]) <= names
