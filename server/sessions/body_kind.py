"""What a body that is not UTF-8 text looks like, so that its refusal can say what to do."""

from __future__ import annotations

from typing import NamedTuple

# The control characters that text has none of, as file(1) counts them: bell, backspace, white space and ESC are text.
_CONTROLS = bytes([*range(0x07), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])
_BINARY_SHARE, _BINARY_CONTROLS_MIN = 0.1, 16
# In UTF-16 the high bytes of most scripts are control characters, and hardly any low byte is.
_HIGH_SHARE, _LOW_SHARE = 0.8, 0.2
_MARKS = (
    (b"\xff\xfe\0\0", "UTF-32LE"),
    (b"\0\0\xfe\xff", "UTF-32BE"),
    (b"\xff\xfe", "UTF-16LE"),
    (b"\xfe\xff", "UTF-16BE"),
)
_FILES = (
    (b"%PDF", "a PDF file: send the text that pdftotext extracts from it"),
    (b"PK\x03\x04", "a ZIP archive, as .docx, .odt and .epub files are: send the text inside"),
    (b"\xd0\xcf\x11\xe0", "an Office document: send its text"),
    (b"\x1f\x8b", "gzip: send what gunzip makes of it"),
    (b"\xfd7zXZ", "xz: send what unxz makes of it"),
    (b"BZh", "bzip2: send what bunzip2 makes of it"),
    (b"\x28\xb5\x2f\xfd", "zstd: send what unzstd makes of it"),
    (b"\x89PNG", "an image: send text"),
    (b"\xff\xd8\xff", "an image: send text"),
)
_SAMPLE_BYTES = 256
_HEAD_BYTES = 4096
# An 8-bit text in a language of Western Europe has fewer than this share of letters beyond ASCII.
_WESTERN_SHARE = 0.3
_WESTERN_SIGNS = "€‚„…‘’“”•–—™¡§©«®°±²³´·»¼½¾¿£ºª\u00a0"


class Advice(NamedTuple):
    """What the body looks like and what to do; `encoding` is the one that it seems to be text in, as iconv names it."""

    sentence: str
    encoding: str | None = None


def is_binary(piece: bytes) -> bool:
    """Whether more than a tenth of the bytes, and some number of them, are control characters that text has none of."""
    controls = _controls(piece)
    return controls >= _BINARY_CONTROLS_MIN and controls > _BINARY_SHARE * len(piece)


def first_control(piece: bytes) -> int:
    """Where the first control character is that text has none of."""
    return len(piece) - len(piece.lstrip(bytes(byte for byte in range(256) if byte not in _CONTROLS)))


def advice(head: bytes, piece: bytes, at: int) -> Advice:
    """The advice about a body that begins with `head`, and is not text from byte `at` of `piece` on."""
    if file := next((file for magic, file in _FILES if head.startswith(magic)), None):
        return Advice(f"it looks like {file}")
    encoding = _wide_encoding(head[:_HEAD_BYTES]) or _wide_encoding(piece[:_HEAD_BYTES]) or _western(piece, at)
    if encoding is None:
        return Advice("encode the text as UTF-8" if not is_binary(piece) else "it is binary: send text")
    return Advice(f"it looks like {encoding}: convert it with iconv -f {encoding} -t UTF-8 FILE", encoding)


def _controls(piece: bytes) -> int:
    return len(piece) - len(piece.translate(None, _CONTROLS))


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by a byte order mark, or by where the high bytes of its characters are."""
    if marked := next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None):
        return marked
    head = head[: len(head) // 4 * 4]
    if len(head) < 8:
        return None
    planes = [(max(head[3::4]), max(head[2::4])), (max(head[0::4]), max(head[1::4]))]
    for (highest, plane), encoding in zip(planes, ("UTF-32LE", "UTF-32BE"), strict=True):
        if highest == 0 and plane <= 0x10:
            return encoding
    for first, encoding in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        high, low = head[first::2], head[1 - first :: 2]
        if _controls(high) > _HIGH_SHARE * len(high) and _controls(low) < _LOW_SHARE * len(low):
            return encoding
    return None


def _western(piece: bytes, at: int) -> str | None:
    """Windows-1252, which includes what is printable of Latin-1, where the bytes around `at` are letters of it."""
    if not piece[:at].isascii():
        # So far it is UTF-8: the text is damaged, not in another encoding.
        return None
    sample = piece[max(0, at - _SAMPLE_BYTES) : at + _SAMPLE_BYTES]
    try:
        signs = [sign for sign in sample.decode("cp1252") if not sign.isascii()]
    except UnicodeDecodeError:
        return None
    plausible = signs and all(sign.isalpha() or sign in _WESTERN_SIGNS for sign in signs)
    return (
        "WINDOWS-1252" if plausible and len(signs) <= _WESTERN_SHARE * len(sample) and not _controls(sample) else None
    )
