"""Files as text: each encoding, each format, and the error for a file that cannot be read."""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PdfWriter

from onceread.cli import decoding, input_files
from onceread.cli.exit_codes import UsageError
from tests.clients import documents
from tests.clients.command_line import CommandLine

FRENCH = "Le garçon a été très étonné par le gâteau d'été, à côté de la forêt où tombe la neige. " * 20


def whole(*paths: Path, encoding: str = "utf-8", plain: bool = False) -> str:
    """The text of the files, taken in pieces of odd sizes."""
    source = input_files.source(list(paths), encoding, plain)
    found = b""
    while piece := source.take(len(found), 97):
        found += piece
    assert source.total_bytes == len(found)
    assert source.take(0, 5) == found[:5], "it can be read again"
    source.close()
    return found.decode()


@given(st.text(max_size=300), st.sampled_from(["utf-8", "utf-16", "utf-32", "utf-7", "gb18030"]), st.integers(1, 7))
def test_text_of_any_encoding_is_decoded_at_any_cut_of_its_bytes(text: str, encoding: str, size: int) -> None:
    text = text.removeprefix("\ufeff")
    encoded = text.encode(encoding)
    pieces = (encoded[start : start + size] for start in [*range(0, len(encoded), size), len(encoded)])
    assert "".join(decoding.decoded(lambda _: next(pieces), encoding, "x")) == text


@given(st.text(max_size=60), st.integers(1, 9))
def test_the_first_invalid_byte_is_named_at_any_cut(before: str, size: int) -> None:
    before = before.removeprefix("\ufeff")
    encoded = before.encode() + b"a\xff" + b"b" * 20
    pieces = (encoded[start : start + size] for start in [*range(0, len(encoded), size), len(encoded)])
    with pytest.raises(UsageError, match=f"x: byte {len(before.encode()) + 1} is not utf-8"):
        list(decoding.decoded(lambda _: next(pieces), "utf-8", "x"))


def test_the_proposed_encoding_works(tmp_path: Path) -> None:
    path = tmp_path / "été.txt"
    path.write_bytes(FRENCH.encode("cp1252"))
    at = FRENCH.encode("cp1252").index("ç".encode("cp1252"))
    with pytest.raises(UsageError, match=rf"été.txt: byte {at} is not utf-8 \(.*\); it may be") as caught:
        whole(path)
    proposed = re.findall(r"try --encoding (\S+)", str(caught.value))[0]
    assert whole(path, encoding=proposed) == FRENCH


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_is_refused_with_its_encoding_before_anything_is_sent(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "zebra.txt"
    for text in ("Kofi sold the zebra.\n" * 20, "Кофи продал зебру.\n" * 20):
        path.write_bytes(text.encode(encoding))
        with pytest.raises(UsageError, match=r"zebra.txt.* is not utf-8.*; it may be") as caught:
            whole(path)
        proposed = re.findall(r"try --encoding (\S+)", str(caught.value))[0]
        assert whole(path, encoding=proposed) == text


@pytest.mark.parametrize(
    ("begins", "named"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", r"a PDF file: its name must end with \.pdf"),
        (b"PK\x03\x04 and more", "a ZIP archive"),
        (b"\x1f\x8b\x08\x00", "gzip: gunzip it first"),
        (b"abc\0" * 100, "is binary, not text"),
    ],
)
def test_files_that_are_no_text_are_named(tmp_path: Path, begins: bytes, named: str) -> None:
    path = tmp_path / "zebra.txt"
    path.write_bytes(begins)
    with pytest.raises(UsageError, match=f"zebra.txt .*{named}"):
        whole(path)


def test_a_text_with_a_few_control_characters_is_read(tmp_path: Path) -> None:
    text = "one\0 and \x1b[31mred\x1b[0m and N\bNA\bA\f\n" * 40
    (tmp_path / "a.txt").write_text(text)
    assert whole(tmp_path / "a.txt") == text


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa")
    assert whole(tmp_path / "a.txt") == "a"


def test_each_file_begins_on_a_new_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(4)]
    for path, text in zip(paths, ("one", "two\n", "", "three"), strict=True):
        path.write_text(text)
    assert whole(*paths) == "one\ntwo\nthree"


def test_markdown_is_read_without_its_markup(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text(
        "# The *first* chapter\n\nMary went [home](http://x).\nShe `ran`.\n\n* a list\n* of two\n\n"
        "```python\nprint(1)\n```\n\n| a | b |\n| - | - |\n| c | d |\n\n<div>markup</div>\n"
    )
    assert whole(path) == (
        "The first chapter\n\nMary went home.\nShe ran.\n\na list\n\nof two\n\nprint(1)\n\na\n\nb\n\nc\n\nd\n"
    )
    assert whole(path, plain=True).startswith("# The *first*")


def test_html_is_read_as_laid_out_text(tmp_path: Path) -> None:
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


def test_a_word_document_is_read_with_its_tables_and_without_its_pictures(tmp_path: Path) -> None:
    paragraph = documents.paragraph
    rows = "".join(f"<w:tr><w:tc>{paragraph(cell)}</w:tc></w:tr>" for cell in ("one", "two"))
    picture = (
        '<w:p><w:r><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/wordprocessingDrawing">'
        '<a:blip xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"/></wp:inline></w:drawing></w:r></w:p>'
    )
    path = tmp_path / "letter.docx"
    documents.docx(
        path, paragraph("Mary ", "went", " home.") + picture + f"<w:tbl>{rows}</w:tbl>" + paragraph("&lt;b&gt;")
    )
    assert whole(path).split() == ["Mary", "went", "home.", "one", "two", "<b>"]


def test_a_pdf_is_read_page_by_page(tmp_path: Path) -> None:
    assert whole(documents.pdf(tmp_path / "a.pdf", "Mary went home.", "John stayed.")) == (
        "Mary went home.\n\nJohn stayed.\n"
    )


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.epub", b"no archive", "a.epub is not a valid EPUB book"),
        ("a.pdf", b"no pdf", "a.pdf is not a valid PDF file"),
        ("a.docx", b"no archive", "a.docx is not a valid Word document"),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a.docx is encrypted, or of Word 97 to 2003"),
        ("a.html", b"\xff", "a.html: byte 0 is not utf-8"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=said):
        whole(tmp_path / name)


def test_a_truncated_book_is_refused(tmp_path: Path) -> None:
    book = documents.epub(tmp_path / "book.epub", "<p>One.</p>").read_bytes()
    for end in accumulate([len(book) // 7] * 6):
        (tmp_path / "cut.epub").write_bytes(book[:end])
        with pytest.raises(UsageError, match="not a valid EPUB book"):
            whole(tmp_path / "cut.epub")


def test_an_encrypted_pdf_is_refused(tmp_path: Path) -> None:
    made = PdfWriter(clone_from=documents.pdf(tmp_path / "open.pdf", "Mary went home."))
    made.encrypt("secret", algorithm="RC4-128")
    made.write(tmp_path / "closed.pdf")
    with pytest.raises(UsageError, match=r"closed.pdf is encrypted; save it without a password"):
        whole(tmp_path / "closed.pdf")


@given(st.data(), st.sampled_from(["docx", "epub", "pdf"]))
def test_a_file_with_changed_bytes_is_read_or_refused(tmp_path: Path, data: st.DataObject, format: str) -> None:
    """Whatever the libraries raise."""
    path = tmp_path / f"book.{format}"
    match format:
        case "docx":
            documents.docx(path, documents.paragraph("Mary went home."))
        case "epub":
            documents.epub(path, "<p>Mary went home.</p>")
        case "pdf":
            documents.pdf(path, "Mary went home.")
    damaged = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=4)):
        damaged[at] = data.draw(st.integers(0, 255))
    path.write_bytes(damaged)
    with suppress(UsageError):
        whole(path)


def test_a_pdf_in_which_its_library_seeks_in_front_of_the_beginning_is_refused(tmp_path: Path) -> None:
    path = documents.pdf(tmp_path / "book.pdf", "Mary went home.")
    damaged = bytearray(path.read_bytes())
    # Within the first object.
    damaged[16] = 1
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match=r"book.pdf is not a valid PDF file: .*Invalid argument"):
        whole(path)


def test_a_pdf_without_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no text, perhaps only images of it"):
        whole(documents.pdf(tmp_path / "scan.pdf", ""))


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("a.html", "inscriptis", "html"),
        ("a.epub", "inscriptis", "epub"),
        ("a.pdf", "pypdf", "pdf"),
        ("a.docx", "mammoth", "docx"),
    ],
)
def test_a_missing_extractor_names_the_extra_to_install(tmp_path: Path, name: str, module: str, extra: str) -> None:
    (tmp_path / name).write_bytes(b"<p>text</p>")
    # Nothing is asked of a server before the files are understood.
    onceread = CommandLine("http://127.0.0.1:9", tmp_path)
    done = onceread("read", name, without=module)
    assert done.status == 2
    assert f"needs {module}, which is not installed" in done.err
    assert f"pip install 'onceread-client[{extra}]'" in done.err
    assert "Traceback" not in done.err
