"""What is not text is refused with what it looks like; what is text is never refused."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import subprocess
import zipfile

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from server.sessions.body_kind import advice, first_control, is_binary
from server.sessions.errors import InvalidUtf8
from server.sessions.pieces import TextCheck
from testing.models import prose

ENGLISH = "Kofi sold the zebra, and went home.\n" * 20
FRENCH = "Le garçon a été très étonné par le gâteau d'été, à côté de la forêt où tombe la neige. " * 20
RUSSIAN = "Кофи продал зебру и пошёл домой.\n" * 20
WIDE = ("UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE")


def refused(body: bytes) -> InvalidUtf8:
    with pytest.raises(InvalidUtf8) as caught:
        TextCheck(b"").check(body)
    return caught.value


def refusal(body: bytes) -> str:
    return refused(body).detail


def proposed(body: bytes) -> str:
    """The encoding that the refusal names, to all readers, once iconv has converted the body with its command."""
    command = re.search(r"iconv -f (\S+) -t UTF-8", refusal(body))
    assert command, refusal(body)
    done = subprocess.run(["iconv", "-f", command[1], "-t", "UTF-8"], input=body, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    TextCheck(b"").check(done.stdout)
    assert refused(body).members == {"encoding": command[1]}
    return command[1]


@pytest.mark.parametrize("text", [ENGLISH, FRENCH, RUSSIAN])
@pytest.mark.parametrize("encoding", WIDE)
@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_wide_encodings_are_named_with_and_without_a_byte_order_mark(text: str, encoding: str, mark: str) -> None:
    assert proposed((mark + text).encode(encoding)) == encoding


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_western_8_bit_text_is_named(encoding: str) -> None:
    assert proposed(FRENCH.encode(encoding)) == "WINDOWS-1252"
    assert proposed("“Quoted” – and 5 €".encode("cp1252")) == "WINDOWS-1252"


def test_a_text_in_ascii_that_follows_half_a_character_is_in_no_other_encoding() -> None:
    text = TextCheck(b"\xc3")
    with pytest.raises(InvalidUtf8) as caught:
        text.check(b"mine")
    assert caught.value.members == {}


@pytest.mark.parametrize("body", [RUSSIAN.encode("cp1251"), RUSSIAN.encode("koi8-r"), "日本語の文".encode("shift_jis")])
def test_of_other_encodings_no_name_is_guessed(body: bytes) -> None:
    assert refusal(body).endswith("encode the text as UTF-8, and continue from expected_offset")
    assert refused(body).members == {}


def test_damaged_utf8_is_not_taken_for_another_encoding() -> None:
    damaged = FRENCH.encode() + b"\xff" + FRENCH.encode()
    assert refusal(damaged).startswith(f"byte {len(FRENCH.encode())} of the body is not UTF-8; encode the text")


def archive() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as made:
        made.writestr("word/document.xml", ENGLISH)
    return held.getvalue()


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "a PDF file"),
        (archive(), "a ZIP archive"),
        (gzip.compress(ENGLISH.encode(), mtime=0), "gzip"),
        (lzma.compress(ENGLISH.encode()), "xz"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "an image"),
        (bytes(range(256)) * 4, "is not UTF-8"),
        (b"\x7fELF\x02\x01\x01" + bytes(400), "binary"),
    ],
)
def test_files_that_are_no_text_are_named(body: bytes, named: str) -> None:
    assert named in refusal(body)


def test_binary_bytes_that_are_valid_utf8_are_refused_at_the_first_control_character() -> None:
    body = b"abc\0" * 100
    assert refusal(body).startswith("byte 3 of the body is a control character")
    assert first_control(body) == 3


@given(st.text(max_size=400), st.integers(0, 15))
def test_a_text_with_a_few_control_characters_is_text(text: str, controls: int) -> None:
    assume(not any(character < " " or character == "\x7f" for character in text))
    assert not is_binary(text.encode() + b"\0" * controls)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + ENGLISH,
        "a\tb\r\n" * 50,
        "\x1b[31mred\x1b[0m\n" * 50,
        "N\bNA\bAM\bME\bE\n" * 50,
        "one page\f" * 50,
        RUSSIAN,
        "日本語の文" * 50,
        prose(4, 4_000),
        ENGLISH * 10 + "\0" * 40,
    ],
)
def test_text_as_people_have_it_is_accepted(text: str) -> None:
    TextCheck(b"").check(text.encode())


def test_accepted_bytes_may_be_sent_again_whatever_they_are() -> None:
    accepted = b"\0" * 400
    TextCheck(b"", len(accepted)).check(accepted + b"more")
    with pytest.raises(InvalidUtf8, match="byte 400 of the body is a control"):
        TextCheck(b"", len(accepted)).check(accepted * 2)


@given(st.binary(max_size=600), st.integers(0, 599))
def test_there_is_advice_for_any_bytes(body: bytes, at: int) -> None:
    assert advice(body, body, min(at, len(body)))
