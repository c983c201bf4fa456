"""Failures of the server: it is killed, its store loses text, it refuses a key."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from onceread import Onceread, Progress, Session, errors
from server.http import api_keys
from server.http.permissions import Scope
from testing.models import prose
from testing.serving import Server
from tests.clients.conftest import QUICK

TEXT = prose(47, 20_000)
SIZE = len(TEXT.encode())


def state(session: Session) -> tuple[str, int]:
    answer = session.ask("Who came, and where?", max_tokens=12)
    return answer.text, answer.memory.offset


def test_read_survives_a_server_that_is_killed_meanwhile(quick_weights: Path, tmp_path: Path) -> None:
    with Server(quick_weights, f"sqlite:///{tmp_path}/data") as server, Onceread(server.url, retries=QUICK) as client:
        undisturbed = client.sessions.create()
        undisturbed.read(TEXT)
        kills: list[int] = []

        def kill(progress: Progress) -> None:
            # Once while the text is sent, and once when all of it is durable.
            if len(kills) < 2 and progress.accepted_bytes >= (1, progress.total_bytes or 0)[len(kills)]:
                kills.append(progress.accepted_bytes)
                server.kill()
                server.start()

        session = client.sessions.create()
        session.read(TEXT[:4000], progress=kill, wait=False)
        session.read(TEXT[4000:], progress=kill)
        assert len(kills) == 2
        assert state(session) == state(undisturbed)


def test_text_that_a_store_lost_is_sent_again(quick_weights: Path, tmp_path: Path) -> None:
    with Server(quick_weights, f"sqlite:///{tmp_path}/data") as server, Onceread(server.url, retries=QUICK) as client:
        undisturbed = client.sessions.create()
        undisturbed.read(TEXT)
        session = client.sessions.create()
        session.read(TEXT[:5000])
        server.terminate()
        shutil.copytree(tmp_path / "data", tmp_path / "backup")
        server.start()
        session.read(TEXT[5000:12_000])
        server.terminate()
        shutil.rmtree(tmp_path / "data")
        shutil.move(tmp_path / "backup", tmp_path / "data")
        server.start()

        with pytest.raises(errors.TextRolledBack) as caught:
            session.ask("Who came?")
        assert caught.value.expected_offset == len(TEXT[:5000].encode())
        with pytest.raises(errors.TextRolledBack):
            session.read(iter([TEXT[12_000:]]))
        assert session.refresh().text.accepted_bytes == len(TEXT[:5000].encode()), "nothing was put over the loss"
        assert session.read(TEXT, at=0).read_bytes == SIZE
        assert state(session) == state(undisturbed)


def test_the_api_key_is_sent_and_each_refusal_is_its_own_error(quick_weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "api_keys.json"
    tokens: dict[Scope, str] = {}
    with api_keys.changing(file) as known:
        for scope in ("read", "ask"):
            known, _, tokens[scope] = known.with_new("acme", (scope,), time.time(), None)
        api_keys.save(file, known)
    with Server(quick_weights, "memory://", keys_file=str(file)) as server:
        with Onceread(server.url) as stranger:
            stranger.ready()
            with pytest.raises(errors.InvalidApiKey):
                stranger.sessions.create()
        with (
            Onceread(server.url, api_key=tokens["read"]) as reader,
            Onceread(server.url, api_key=tokens["ask"]) as asker,
        ):
            session = reader.sessions.create()
            session.read(TEXT)
            with pytest.raises(errors.NotAllowed):
                session.ask("Who came?")
            assert asker.sessions.get(session.id).ask("Who came?").memory.offset == SIZE
            with pytest.raises(errors.NotAllowed):
                asker.sessions.create()
            assert tokens["read"] not in repr(reader.__dict__)
