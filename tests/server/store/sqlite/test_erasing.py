"""What a redaction deletes is in no file of the store when it returns."""

from dataclasses import replace
from pathlib import Path

import pytest

from server.store.base import Range, Redaction
from server.store.sqlite import SqliteStore
from tests.server.store.samples import in_parts, keep, key, read, record

pytestmark = pytest.mark.anyio

SECRET = b"the-secret-word "
PUBLIC = b"a public word   "


def files_with(folder: Path, words: bytes) -> list[str]:
    return [file.name for file in folder.iterdir() if words in file.read_bytes()]


@pytest.mark.parametrize("keep_text", [False, True])
@pytest.mark.parametrize("repeats", [1, 600, 12000])
async def test_a_redacted_text_is_in_no_file(
    sqlite: SqliteStore, tmp_path: Path, keep_text: bool, repeats: int
) -> None:
    """The pieces are trimmed as they are read, so the rows of some were deleted long before the redaction."""
    await sqlite.create(replace(record(), keep_text=keep_text, lineage="1"))
    text = b""
    for version, word in enumerate((PUBLIC, SECRET, PUBLIC, SECRET, PUBLIC), 1):
        piece = word * repeats
        await sqlite.append(key(), len(text), piece, at=2.0)
        text += piece
        await keep(sqlite, key(), in_parts(read(text, version), PUBLIC * 10, word * min(repeats, 9000)), at=3.0)
    size = len(SECRET) * repeats
    assert files_with(tmp_path / "data", SECRET)
    ranges = (Range(size, 2 * size), Range(3 * size, 4 * size))
    await sqlite.redact(await sqlite.get(key()), Redaction(ranges, in_parts(read(text, 6), PUBLIC * 10)), "1.a", at=4.0)
    assert files_with(tmp_path / "data", SECRET) == []
    assert bool(files_with(tmp_path / "data", PUBLIC))
