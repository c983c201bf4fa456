"""Every command of the command line, in its own process, against a real server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from onceread import Onceread
from testing.models import prose
from testing.serving import Server
from tests.clients.command_line import CommandLine, seen

TEXT = prose(41, 6000)
SIZE = len(TEXT.encode())
QUESTION = "Who came, and where?"
INTERRUPTS_MAX = 6
# The part of the text that is sent before an interrupt.
BEGINNING = TEXT[:3000].encode()


@pytest.fixture(scope="module")
def server(sqlite_server: Server) -> Server:
    return sqlite_server


@pytest.fixture
def onceread(server: Server, tmp_path: Path) -> CommandLine:
    (tmp_path / "book.txt").write_text(TEXT, "utf-8")
    return CommandLine(server.url, tmp_path)


@pytest.fixture(scope="module")
def book(server: Server) -> str:
    """A session that has read the text."""
    with Onceread(server.url) as client:
        session = client.sessions.create(metadata={"title": "book"})
        session.read(TEXT)
        return session.id


def answer_of(client: Onceread, id: str) -> str:
    return client.sessions.get(id).ask(QUESTION, max_tokens=12).text


def test_serve_check_shows_the_server(onceread: CommandLine, server: Server) -> None:
    facts = onceread("serve-check", "--json").value
    assert facts["ready"] is True
    shown = onceread("serve-check")
    assert shown.status == 0
    for expected in (server.url, facts["version"], facts["fingerprint"][:12], "ready"):
        assert expected in shown.out


def test_read_ask_fork_snapshot_save_and_load(onceread: CommandLine, client: Onceread, book: str) -> None:
    read = onceread("read", "book.txt", "--json").value
    session = read["session"]
    assert read["progress"]["read_bytes"] == SIZE
    assert read["receipt"]
    assert answer_of(client, session) == answer_of(client, book)

    asked = onceread("ask", session, QUESTION, "--max-tokens", "12")
    assert asked.out.removesuffix("\n") == answer_of(client, book)
    whole = onceread("ask", session, QUESTION, "--max-tokens", "12", "--json").value
    assert whole["answer"]["text"] == answer_of(client, book)
    assert whole["answer"]["memory"]["offset"] == SIZE

    copy = onceread("fork", session, "--title", "another end").out.strip()
    assert client.sessions.get(copy).metadata["title"] == "another end"

    assert onceread("snapshot", session, "chapter-3", "--json").value["offset"] == SIZE
    assert "chapter-3" in onceread("snapshot", session).out
    onceread("read", "book.txt", "--session", session)
    assert onceread("ask", session, QUESTION, "--snapshot", "chapter-3", "--max-tokens", "12").out == asked.out
    assert onceread("snapshot", session, "chapter-3", "--restore").status == 0
    assert client.sessions.get(session).info.text.accepted_bytes == SIZE
    assert onceread("snapshot", session, "chapter-3", "--delete").status == 0
    assert onceread("snapshot", session, "--json").value == []

    assert onceread("save", session, "book.safetensors", "--json").value["bytes"] > 0
    loaded = onceread("load", "book.safetensors", "--id", f"{session}-loaded").out.strip()
    assert loaded == f"{session}-loaded"
    assert answer_of(client, loaded) == answer_of(client, book)

    listed = onceread("sessions", "--json").value
    assert [found["id"] for found in listed][:3] == [loaded, copy, session]
    shown = onceread("sessions").out
    assert session in shown
    assert "another end" in shown
    assert onceread("rm", session, copy, loaded).status == 0
    assert onceread("ask", session, QUESTION).status == 3


def test_a_title_is_never_markup(onceread: CommandLine, client: Onceread) -> None:
    title = "[bold]A :book: of[/bold] marks[/]"
    client.sessions.create(metadata={"title": title})
    assert title in onceread("sessions", "--limit", "1").out
    assert title in onceread("watch", "--updates", "1", "--limit", "1").out


def test_watch_shows_sessions_at_each_update(onceread: CommandLine, book: str) -> None:
    done = onceread("watch", "--updates", "2", "--every", "0.1", "--json")
    first, second = map(json.loads, done.out.splitlines())
    assert book in [session["id"] for session in first["sessions"]]
    assert second["tokens_per_second"][book] == 0
    shown = onceread("watch", "--updates", "1")
    assert shown.status == 0
    assert "tokens/s" in shown.out
    assert book in shown.out


def test_an_interrupt_ends_watch_with_exit_code_0(onceread: CommandLine, book: str) -> None:
    with onceread.start("watch", "--every", "0.1", "--json") as process:
        assert process.stdout is not None
        seen(process.stdout, book)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) == 0


def interrupt(process: subprocess.Popen[bytes]) -> None:
    """Ctrl-C until it ends: one that comes just before a blocking read of a pipe has no effect until the read ends."""
    for _ in range(INTERRUPTS_MAX):
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
            return
    raise AssertionError(f"the command ignores {INTERRUPTS_MAX} interrupts")


def test_resume_finishes_an_interrupted_read(onceread: CommandLine, client: Onceread, book: str) -> None:
    # A pipe that stays open, so that the read cannot end before the interrupt.
    os.mkfifo(onceread.folder / "pipe.txt")
    with onceread.start("read", "pipe.txt", "--title", "book") as process:
        assert process.stderr is not None
        with (onceread.folder / "pipe.txt").open("wb", buffering=0) as pipe:
            pipe.write(BEGINNING)
            said = seen(process.stderr, " kB durable")
            interrupt(process)
            said += process.stderr.read().decode()
            assert process.wait(60) == 130, said
    (command,) = re.findall(r"to resume: onceread (.*) pipe.txt\n", said)
    session = command.split()[-1]
    assert client.sessions.get(session).info.text.accepted_bytes == len(BEGINNING)
    resumed = onceread(*command.split(), "book.txt", "--json").value
    assert resumed["session"] == session
    assert resumed["progress"]["read_bytes"] == SIZE
    assert answer_of(client, session) == answer_of(client, book)


def test_an_interrupted_append_prints_the_offset_at_which_it_began(onceread: CommandLine, client: Onceread) -> None:
    session = client.sessions.create()
    session.read("before\n")
    with onceread.start("read", "-", "--session", session.id, "--json", stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(BEGINNING)
        process.stdin.flush()
        seen(process.stderr, f'"accepted_bytes": {len(BEGINNING)}')
        interrupt(process)
        unfinished, interrupted = map(json.loads, process.stderr.read().decode().splitlines()[-2:])
        assert process.wait(60) == 130
    assert unfinished["unfinished"]["at"] == 7
    assert interrupted["error"]["type"] == "Interrupted"
    again = unfinished["unfinished"]["command"].split()[1:-1]
    assert onceread(*again, "-", "--json", feed=TEXT.encode()).value["progress"]["read_bytes"] == SIZE
    assert session.refresh().text.accepted_bytes == 7 + SIZE


def test_resuming_with_another_file_is_a_conflict(onceread: CommandLine, client: Onceread) -> None:
    session = client.sessions.create()
    session.read(TEXT[:3000])
    (onceread.folder / "other.txt").write_text("Another text. " * 1000)
    refused = onceread("read", "other.txt", "--resume", session.id)
    assert refused.status == 4
    assert "content_conflict" in refused.err
    assert session.refresh().text.accepted_bytes == len(TEXT[:3000].encode())


def test_several_files_and_standard_input_are_one_text(onceread: CommandLine, client: Onceread) -> None:
    (onceread.folder / "one.txt").write_bytes(b"\xef\xbb\xbfone")
    (onceread.folder / "two.txt").write_bytes(b"two\n")
    several = onceread("read", "one.txt", "two.txt", "-", "--json", feed="thrée".encode()).value
    expected = "one\ntwo\nthrée".encode()
    assert several["progress"]["read_bytes"] == len(expected)
    session = client.sessions.get(several["session"])
    assert session.read(expected, at=0, wait=False).accepted_bytes == len(expected)
    assert session.metadata == {"title": "one"}


def test_a_named_session_is_created_and_then_appended_to(onceread: CommandLine, client: Onceread) -> None:
    for times in (1, 2):
        done = onceread("read", "book.txt", "--session", "my-book", "--title", "mine", "--no-wait", "--json")
        assert done.value["at"] == (times - 1) * SIZE
    assert client.sessions.get("my-book").info.text.accepted_bytes == 2 * SIZE
    assert client.sessions.get("my-book").metadata == {"title": "mine"}


def test_questions_from_standard_input_are_answered_line_by_line(onceread: CommandLine, book: str) -> None:
    done = onceread("ask", book, "--max-tokens", "6", "--json", feed=f"{QUESTION}\n\nWhen?\n".encode())
    assert [json.loads(line)["question"] for line in done.out.splitlines()] == [QUESTION, "When?"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("ask", "nobody", "Who?"), 3, "session_not_found"),
        (("snapshot", "BOOK", "never", "--restore"), 3, "snapshot_not_found"),
        (("fork", "BOOK", "--id", "BOOK"), 4, "session_exists"),
        (("--url", "http://127.0.0.1:9", "serve-check"), 5, "is a server running there?"),
        (("--url", "127.0.0.1:8000", "sessions"), 2, "write it like http://"),
        (("read", "nothing.txt"), 2, "nothing.txt"),
        (("read", "."), 2, "is a directory"),
        (("read", "book.txt", "--session", "a", "--resume", "b"), 2, "either --session"),
        (("read", "book.txt", "--encoding", "runes"), 2, "no encoding 'runes'"),
        (("ask", "BOOK", "Who?", "--temperature", "99"), 2, "temperature"),
        (("snapshot", "BOOK", "--restore"), 2, "name one snapshot"),
        (("load", "book.txt"), 2, "not a valid memory"),
        (("sing",), 2, "sing"),
    ],
)
def test_each_failure_has_an_exit_code_and_a_reason(
    onceread: CommandLine, book: str, words: tuple[str, ...], status: int, said: str
) -> None:
    done = onceread(*(word.replace("BOOK", book) for word in words))
    assert (done.status, done.out) == (status, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_errors_are_json_too(onceread: CommandLine) -> None:
    done = onceread("ask", "nobody", "Who?", "--json")
    assert done.status == 3
    error = json.loads(done.err)["error"]
    assert (error["code"], error["status"]) == ("session_not_found", 404)


def test_the_help_of_every_command_lists_the_exit_codes(onceread: CommandLine) -> None:
    top = onceread("--help").out
    commands = ["serve-check", "read", "ask", "sessions", "fork", "snapshot", "save", "load", "rm", "watch"]
    assert all(re.search(rf"^│ {command} ", top, re.MULTILINE) for command in commands)
    for command in ([], ["read"], ["ask"]):
        helped = onceread(*command, "--help")
        assert "130: interrupted" in " ".join(helped.out.split())
