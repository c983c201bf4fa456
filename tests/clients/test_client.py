"""The client against a real server on each store: every call."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from onceread import Onceread, Progress, Session, errors
from onceread.sources import Readable
from testing.models import prose

TEXT = prose(41, 6000)
SIZE = len(TEXT.encode())


def state(session: Session) -> tuple[str, int]:
    """What a session's memory lets it say."""
    answer = session.ask("Who came, and where?", max_tokens=12)
    return answer.text, answer.memory.offset


@pytest.fixture
def book(client: Onceread) -> Session:
    session = client.sessions.create(metadata={"title": "Middlemarch"})
    session.read(TEXT)
    return session


def sources(folder: Path) -> Iterator[Readable]:
    path = folder / "text.txt"
    path.write_text(TEXT, "utf-8")
    pieces = [TEXT[start : start + 700] for start in range(0, len(TEXT), 700)]
    yield path
    yield TEXT
    yield TEXT.encode()
    yield io.BytesIO(TEXT.encode())
    yield iter(pieces)
    yield [piece.encode() for piece in pieces]
    yield lambda: iter(pieces)
    behind = io.BytesIO(b"before" + TEXT.encode())
    behind.seek(6)
    yield behind


def test_every_kind_of_source_ends_in_the_same_memory(client: Onceread, book: Session, tmp_path: Path) -> None:
    for source in sources(tmp_path):
        session = client.sessions.create()
        final = session.read(source)
        assert (final.sent_bytes, final.accepted_bytes, final.read_bytes) == (SIZE, SIZE, SIZE)
        assert state(session) == state(book), source


def test_a_file_in_text_mode_is_refused(book: Session, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("text")
    with (tmp_path / "text.txt").open() as file, pytest.raises(TypeError, match="'rb'"):
        book.read(file)


def test_read_reports_progress(client: Onceread) -> None:
    session = client.sessions.create()
    session.read("before ")
    seen: list[Progress] = []
    final = session.read(TEXT, progress=seen.append)
    assert seen[0].total_bytes == SIZE
    assert seen[-1] == final
    for earlier, later in pairwise(seen):
        assert earlier.read_bytes <= later.read_bytes <= SIZE
        assert earlier.accepted_bytes <= later.accepted_bytes <= SIZE
    assert final.tokens > 0
    assert session.refresh().text.tokens == final.tokens


def test_text_may_be_sent_without_waiting_and_waited_for_later(client: Onceread, book: Session) -> None:
    session = client.sessions.create()
    assert session.read(TEXT, wait=False).accepted_bytes == SIZE
    assert session.read(TEXT, at=0).read_bytes == SIZE
    assert state(session) == state(book)


def test_several_texts_are_appended_in_order(client: Onceread, book: Session) -> None:
    session = client.sessions.create()
    for start in range(0, len(TEXT), 2000):
        session.read(TEXT[start : start + 2000], wait=False)
    assert state(session) == state(book)


def test_a_receipt_is_kept_and_can_be_sent_later(client: Onceread, book: Session) -> None:
    assert book.receipt is not None
    assert book.durability == "fsync"
    again = client.sessions.get(book.id, receipt=book.receipt)
    assert again.receipt is not None
    other = client.sessions.create()
    with pytest.raises(errors.InvalidField):
        client.sessions.get(other.id, receipt=book.receipt)


def test_a_receipt_of_lost_text_is_an_error_and_read_continues_from_what_survived(
    client: Onceread, book: Session
) -> None:
    receipt = book.receipt
    book.delete()
    anew = client.sessions.create(id=book.id)
    anew.read(TEXT[:1000])
    with pytest.raises(errors.TextRolledBack):
        client.sessions.get(book.id, receipt=receipt)
    anew.receipt = receipt
    with pytest.raises(errors.TextRolledBack) as caught:
        anew.ask("Who?")
    assert caught.value.expected_offset == 0
    anew.read(TEXT, at=0)
    assert anew.refresh().text.accepted_bytes == SIZE
    assert anew.receipt != receipt


def test_an_answer_comes_whole_streamed_or_in_a_batch(book: Session) -> None:
    whole = book.ask("Who came, and where?", max_tokens=12)
    assert whole.usage.completion_tokens <= 12
    assert whole.memory.offset == SIZE
    with book.ask("Who came, and where?", stream=True, max_tokens=12) as stream:
        assert stream.answer is None
        assert "".join(stream) == whole.text
        assert stream.answer is not None
        assert stream.answer.usage == whole.usage
    first, second = book.ask_all(["Who came, and where?", "When?"], max_tokens=12)
    assert first.text == whole.text
    assert second.usage.completion_tokens <= 12


def test_an_answer_that_is_left_early_leaves_the_client_usable(book: Session) -> None:
    with book.ask("Who?", stream=True, max_tokens=60) as stream:
        next(stream)
    assert book.ask("Who?", max_tokens=2).usage.completion_tokens <= 2


def test_options_reach_the_server(book: Session) -> None:
    scored = book.ask("Who?", max_tokens=3, logprobs=True, temperature=1.0, seed=7, top_k=5, top_p=0.9)
    assert scored.logprobs is not None
    assert len(scored.logprobs) == scored.usage.completion_tokens
    assert book.ask("Who?", max_tokens=3, logprobs=True, temperature=1.0, seed=7, top_k=5, top_p=0.9) is not scored
    remembered = book.ask("Who?", max_tokens=3, remember=True)
    assert book.refresh().text.accepted_bytes > remembered.memory.offset
    with pytest.raises(errors.InvalidField) as caught:
        book.ask("Who?", temperature=-1.0)
    assert caught.value.param == "temperature"


def test_a_fork_is_independent(book: Session) -> None:
    copy = book.fork(metadata={"title": "Another end"})
    assert copy.metadata == {"title": "Another end"}
    assert state(copy) == state(book)
    copy.read(" And then?")
    assert state(copy)[1] == SIZE + 10
    assert state(book)[1] == SIZE


def test_text_belongs_to_the_document_that_it_is_read_with(client: Onceread) -> None:
    session = client.sessions.create()
    assert session.documents() == []
    session.read("Before any. ")
    session.read("The first. ", document="a/1")
    session.read("The second. ", document="第二章")
    session.read("It goes on. ")
    session.read("The first again.", document="a/1")
    with pytest.raises(errors.NotForgettable):
        session.delete_document("a/1")
    with pytest.raises(errors.DocumentNotFound):
        session.delete_document("a/2")
    found = session.documents()
    assert [(each.name, each.offset, each.bytes) for each in found] == [("a/1", 12, 27), ("第二章", 23, 24)]
    for number in range(101):
        session.read("x", document=f"{number}", wait=False)
    assert [each.name for each in session.documents()] == ["a/1", "第二章", *map(str, range(101))]


def test_a_snapshot_can_be_asked_forked_and_returned_to(book: Session) -> None:
    before = state(book)
    kept = book.snapshot("chapter-3")
    assert (kept.name, kept.offset, kept.session) == ("chapter-3", SIZE, book.id)
    with pytest.raises(errors.SnapshotExists):
        book.snapshot("chapter-3")
    book.read(" What came after it.")
    assert state(book) != before
    assert [found.name for found in book.snapshots()] == ["chapter-3"]
    asked = book.ask("Who came, and where?", max_tokens=12, snapshot="chapter-3")
    assert (asked.text, asked.memory.offset) == before
    assert state(book.fork(snapshot="chapter-3")) == before
    book.restore("chapter-3")
    assert state(book) == before
    book.read(" Another end.")
    assert state(book)[1] == SIZE + 13
    book.delete_snapshot("chapter-3")
    assert book.snapshots() == []
    with pytest.raises(errors.SnapshotNotFound):
        book.restore("chapter-3")


def test_a_saved_memory_can_be_loaded(client: Onceread, book: Session, tmp_path: Path) -> None:
    file = tmp_path / "book.safetensors"
    book.save(file)
    assert [path.name for path in tmp_path.iterdir()] == ["book.safetensors"]
    loaded = client.sessions.load(file, id=f"{book.id}-copy")
    assert (loaded.id, state(loaded)) == (f"{book.id}-copy", state(book))
    assert state(client.sessions.load(str(file))) == state(book)
    with pytest.raises(errors.SessionExists):
        client.sessions.load(file, id=book.id)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(errors.InvalidRequest):
        client.sessions.load(file)


def test_sessions_are_listed_page_by_page_newest_first(client: Onceread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onceread.wire.sessions.PAGE_SESSIONS", 3)
    made = [client.sessions.create().id for _ in range(7)]
    listed = [session.id for session in client.sessions.list()]
    assert listed[:7] == made[::-1]
    assert len(listed) == len(set(listed))


def test_a_session_is_changed_and_deleted(client: Onceread) -> None:
    session = client.sessions.create(ttl_seconds=1000, metadata={"title": "a"})
    assert session.info.expires_at is not None
    assert session.update(metadata={"title": "b"}).expires_at is not None
    assert session.update(ttl_seconds=None).expires_at is None
    assert client.sessions.get(session.id).metadata == {"title": "b"}
    session.delete()
    with pytest.raises(errors.SessionNotFound):
        session.refresh()
    with pytest.raises(errors.SessionNotFound):
        session.delete()


def test_an_existing_id_is_an_error(client: Onceread) -> None:
    session = client.sessions.create()
    with pytest.raises(errors.SessionExists):
        client.sessions.create(id=session.id)


def test_rebuild_reads_the_kept_text_again(client: Onceread, book: Session) -> None:
    session = client.sessions.create(keep_text=True)
    session.read(TEXT)
    session.rebuild()
    assert state(session) == state(book)


def test_server_info(client: Onceread) -> None:
    client.ready()
    server = client.server()
    assert server.fingerprint == client.sessions.create().info.fingerprint
    assert "onceread_" in client.metrics()


def test_text_that_is_not_utf_8_is_named_by_its_byte(client: Onceread) -> None:
    with pytest.raises(errors.InvalidUtf8, match="byte 3"):
        client.sessions.create().read(b"abc\xff")
