"""The documents of a session's text: which part of the text belongs to which, as it was read."""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

DOCUMENTS_MAX = 4096
NAME_CHARACTERS_MAX = 512
# What a name takes in a stored state at most: four bytes a character, or a quotation mark that is escaped twice.
NAME_BYTES_MAX = 4 * NAME_CHARACTERS_MAX


class Document(NamedTuple):
    """A part of the text: `size` bytes from `offset` on, as they were sent, of which `tokens` are final.

    A document that was gone on with later has several parts. Text that belongs to no document after one that does has
    the name "".
    """

    name: str
    offset: int
    size: int = 0
    tokens: int = 0


class UnsoundDocuments(ValueError):
    """A list of documents that no text can have."""


def grown(documents: Sequence[Document], size: int, tokens: int) -> tuple[Document, ...]:
    """The documents after more text of the last one was read."""
    if not documents:
        return ()
    *before, last = documents
    return (*before, last._replace(size=last.size + size, tokens=last.tokens + tokens))


def named_at(documents: Sequence[Document], offset: int) -> str | None:
    """The name of the document to which the byte at an offset belongs."""
    for part in documents:
        if part.offset <= offset < part.offset + part.size:
            return part.name or None
    return None


def end_at(documents: Sequence[Document], offset: int) -> int | None:
    """Where the next part behind the byte at an offset begins; None where none does."""
    behind = bisect_right(documents, offset, key=lambda part: part.offset)
    return documents[behind].offset if behind < len(documents) else None


def listed(documents: Sequence[Document]) -> list[Document]:
    """Each document once, in the order in which they begin, with the bytes and tokens of all of its parts."""
    whole: dict[str, Document] = {}
    for part in documents:
        known = whole.get(part.name, Document(part.name, part.offset))
        whole[part.name] = known._replace(size=known.size + part.size, tokens=known.tokens + part.tokens)
    return [document for name, document in whole.items() if name]


def ranges_of(documents: Sequence[Document], name: str) -> tuple[tuple[int, int], ...]:
    """Where the text of this document begins and ends, part by part."""
    return tuple((part.offset, part.offset + part.size) for part in documents if part.name == name)


def without(documents: Sequence[Document], name: str) -> tuple[Document, ...]:
    """The documents after this one was deleted: its parts belong to none, and stay counted as text that was read."""
    return tuple(part._replace(name="") if part.name == name else part for part in documents)


def is_name(name: str) -> bool:
    """Whether a document can have this name."""
    return 1 <= len(name) <= NAME_CHARACTERS_MAX and not any(
        unicodedata.category(each) in ("Cc", "Cs") for each in name
    )


def encode(documents: Sequence[Document]) -> str:
    return json.dumps(documents, ensure_ascii=False, separators=(",", ":"))


def decode(text: str, offset: int, tokens: int) -> tuple[Document, ...]:
    """The documents of a text of which `offset` bytes, as so many final tokens, were read; `UnsoundDocuments`."""
    try:
        found = tuple(Document(*part) for part in json.loads(text))
        types = {(type(part.name), type(part.offset), type(part.size), type(part.tokens)) for part in found}
    except (ValueError, TypeError, RecursionError) as error:
        raise UnsoundDocuments("the list of documents cannot be read") from error
    if types - {(str, int, int, int)} or len(found) > DOCUMENTS_MAX:
        raise UnsoundDocuments("the list of documents has too many, or parts that are none")
    if not all(part.name == "" or is_name(part.name) for part in found):
        raise UnsoundDocuments("a document has a name that none can have")
    ends = [part.offset for part in found[1:]] + [offset] * bool(found)
    joined = all(part.offset + part.size == end for part, end in zip(found, ends, strict=True))
    counted = all(part.size > 0 and 0 <= part.tokens <= tokens for part in found)
    # Deleted parts beside each other stay apart.
    changing = all(one.name != next_.name or not one.name for one, next_ in pairwise(found))
    if not (joined and counted and changing and all(part.offset >= 0 for part in found)):
        raise UnsoundDocuments("the documents are not those of one text")
    if sum(part.tokens for part in found) > tokens:
        raise UnsoundDocuments("the documents have more tokens than the text")
    return found
