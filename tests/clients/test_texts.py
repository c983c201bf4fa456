"""Files as text: every encoding that is named, every format that is taken, and what is said where one can not be."""

from __future__ import annotations

import re
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onceread.cli import decoding, texts
from onceread.cli.exits import Unusable
from tests.clients import documents
from tests.clients.command_line import CommandLine

FRENCH = "Le garçon a été très étonné par le gâteau d'été, à côté de la forêt où tombe la neige. " * 20


def whole(*paths: Path, encoding: str = "utf-8", plain: bool = False) -> str:
    """The text of the files, taken in pieces of odd sizes."""
    source = texts.source(list(paths), encoding, plain)
    found = b""
    while piece := source.take(len(found), 97):
        found += piece
    assert source.total_bytes == len(found)
    assert source.take(0, 5) == found[:5], "it can be read again"
    source.close()
    return found.decode()


@given(st.text(max_size=300), st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-7", "gb18030"]), st.integers(1, 7))
def test_text_of_any_encoding_comes_out_however_its_bytes_are_cut(text: str, encoding: str, size: int) -> None:
    text = text.removeprefix("\ufeff")
    encoded = text.encode(encoding)
    pieces = (encoded[start : start + size] for start in [*range(0, len(encoded), size), len(encoded)])
    assert "".join(decoding.decoded(lambda _: next(pieces), encoding, "x")) == text


@given(st.text(max_size=60), st.integers(1, 9))
def test_the_first_bad_byte_is_named_however_the_bytes_are_cut(before: str, size: int) -> None:
    before = before.removeprefix("\ufeff")
    encoded = before.encode() + b"a\xff" + b"b" * 20
    pieces = (encoded[start : start + size] for start in [*range(0, len(encoded), size), len(encoded)])
    with pytest.raises(Unusable, match=f"x: byte {len(before.encode()) + 1} is not utf-8"):
        list(decoding.decoded(lambda _: next(pieces), "utf-8", "x"))


def test_another_encoding_is_proposed_and_that_one_works(tmp_path: Path) -> None:
    path = tmp_path / "été.txt"
    path.write_bytes(FRENCH.encode("cp1252"))
    at = FRENCH.encode("cp1252").index("ç".encode("cp1252"))
    with pytest.raises(Unusable, match=rf"été.txt: byte {at} is not utf-8 \(.*\); it may be") as caught:
        whole(path)
    proposed = re.findall(r"try --encoding (\S+)", str(caught.value))[0]
    assert whole(path, encoding=proposed) == FRENCH


def test_a_mark_at_the_beginning_is_not_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa")
    assert whole(tmp_path / "a.txt") == "a"


def test_lines_do_not_run_into_one_another_where_files_meet(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(4)]
    for path, text in zip(paths, ("one", "two\n", "", "three"), strict=True):
        path.write_text(text)
    assert whole(*paths) == "one\ntwo\nthree"


def test_markdown_is_read_without_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text(
        "# The *first* chapter\n\nMary went [home](http://x).\nShe `ran`.\n\n* a list\n* of two\n\n"
        "```python\nprint(1)\n```\n\n| a | b |\n| - | - |\n| c | d |\n\n<div>markup</div>\n"
    )
    assert whole(path) == (
        "The first chapter\n\nMary went home.\nShe ran.\n\na list\n\nof two\n\nprint(1)\n\na\n\nb\n\nc\n\nd\n"
    )
    assert whole(path, plain=True).startswith("# The *first*")


def test_html_is_read_as_it_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        "<html><head><style>p {}</style><script>never()</script></head><body><h1>The f&uuml;rst</h1>"
        "<p>Mary went <b>ho</b>me.</p></body></html>"
    )
    assert re.sub(r"\n+", "\n", whole(path)) == "The fürst\nMary went home.\n"
    path.write_bytes("<p>Été</p>".encode("cp1252"))
    assert whole(path, encoding="cp1252") == "Été\n"


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path: Path) -> None:
    path = documents.epub(tmp_path / "book.epub", "<h1>One</h1><p>Mary &amp; John.</p>", "<p>Two.</p>", "<p>Three.</p>")
    assert whole(path).split() == ["One", "Mary", "&", "John.", "Two.", "Three."]


def test_a_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    assert whole(documents.pdf(tmp_path / "a.pdf", "Mary went home.", "John stayed.")) == (
        "Mary went home.\n\nJohn stayed.\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.epub", b"no archive", "a.epub is no sound EPUB book"),
        ("a.pdf", b"no pdf", "a.pdf can not be read as PDF"),
        ("a.html", b"\xff", "a.html: byte 0 is not utf-8"),
    ],
)
def test_a_damaged_file_says_so(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Unusable, match=said):
        whole(tmp_path / name)


def test_a_damaged_book_says_so_wherever_it_is_cut_short(tmp_path: Path) -> None:
    book = documents.epub(tmp_path / "book.epub", "<p>One.</p>").read_bytes()
    for end in accumulate([len(book) // 7] * 6):
        (tmp_path / "cut.epub").write_bytes(book[:end])
        with pytest.raises(Unusable, match="no sound EPUB book"):
            whole(tmp_path / "cut.epub")


def test_a_pdf_without_text_says_what_may_be_the_matter(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="has no text, perhaps only pictures of it"):
        whole(documents.pdf(tmp_path / "scan.pdf", ""))


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("a.html", "inscriptis", "html"),
        ("a.epub", "inscriptis", "epub"),
        ("a.pdf", "pypdf", "pdf"),
    ],
)
def test_a_missing_extractor_says_how_to_get_it(tmp_path: Path, name: str, module: str, extra: str) -> None:
    (tmp_path / name).write_bytes(b"<p>text</p>")
    # Nothing is asked of a server before the files are understood.
    onceread = CommandLine("http://127.0.0.1:9", tmp_path)
    done = onceread("read", name, without=module)
    assert done.status == 2
    assert f"needs {module}, which is not installed" in done.err
    assert f"pip install 'onceread-client[{extra}]'" in done.err
    assert "Traceback" not in done.err
