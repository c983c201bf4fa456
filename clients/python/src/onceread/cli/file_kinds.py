"""Files that a server would refuse, named before anything is sent: other formats, UTF-16 and UTF-32, binary data."""

from __future__ import annotations

from onceread.cli.exit_codes import UsageError

HEAD_BYTES = 4096
# The control characters that text has none of; the server counts the same ones.
_CONTROLS = bytes([*range(0x07), *range(0x0E, 0x1B), *range(0x1C, 0x20), 0x7F])
_BINARY_SHARE, _BINARY_CONTROLS_MIN = 0.1, 16
_HIGH_SHARE, _LOW_SHARE = 0.8, 0.2
# With these codecs Python drops the byte order mark.
_MARKS = (
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_FORMATS = (
    (b"%PDF", "a PDF file: its name must end with .pdf, without --plain"),
    (b"PK\x03\x04", "a ZIP archive, as .docx, .odt and .epub files are: read the text inside"),
    (b"\xd0\xcf\x11\xe0", "an Office document: read its text"),
    (b"\x1f\x8b", "gzip: gunzip it first"),
    (b"\xfd7zXZ", "xz: unxz it first"),
    (b"BZh", "bzip2: bunzip2 it first"),
    (b"\x28\xb5\x2f\xfd", "zstd: unzstd it first"),
)


class WrongEncoding(UsageError):
    """A file in another encoding: `what` is wrong, and which encoding it may be in."""

    def __init__(self, what: str, proposed: str) -> None:
        super().__init__(f"{what}; it may be {proposed}: try --encoding {proposed}")
        self.what = what
        self.proposed = proposed


def must_be_text(begins: bytes, name: str) -> None:
    """`UsageError` for a file that begins as no UTF-8 text does although its bytes may be valid UTF-8."""
    head = begins[:HEAD_BYTES]
    if format := next((format for magic, format in _FORMATS if head.startswith(magic)), None):
        raise UsageError(f"{name} looks like {format}")
    if encoding := next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None):
        raise WrongEncoding(f"{name} is not utf-8", encoding)
    if _controls(head) < _BINARY_CONTROLS_MIN or _controls(head) <= _BINARY_SHARE * len(head):
        return
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        high, low = head[first::2], head[1 - first :: 2]
        if _controls(high) > _HIGH_SHARE * len(high) and _controls(low) < _LOW_SHARE * len(low):
            raise WrongEncoding(f"{name} is not utf-8", encoding)
    if begins.isascii():
        raise UsageError(f"{name} is binary, not text")


def _controls(data: bytes) -> int:
    return len(data) - len(data.translate(None, _CONTROLS))
