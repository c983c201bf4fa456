"""Refusals of the use cases: what the caller asked for cannot be done; the text says why and what to do about it.

Refusal
 ├── InvalidField          a value is missing, unknown or out of bounds; `param` names it
 ├── InvalidUtf8           the text is not UTF-8, or is binary
 ├── InvalidMemoryFile     an imported file is not a valid memory
 ├── TextNotKept           a rebuild or a range of a text that the session does not keep
 ├── SessionExists         the session's id is in use
 ├── SnapshotExists        the snapshot's name is in use
 ├── DocumentMissing       the session has no document of this name
 ├── TextMissing           the session does not hold the text at this offset; `next_offset` says where it goes on
 ├── NotForgettable        the model's memory cannot forget a document
 ├── FormatNotSupported    text of files of this format cannot be extracted
 ├── NotExtractable        the text of this file cannot be extracted
 ├── OffsetMismatch        the text does not end where the append starts; `expected_offset` says where it ends
 ├── ContentConflict       other bytes were accepted at this offset
 ├── FingerprintMismatch   the session's state was made with other weights
 ├── TextRolledBack        the store has lost text that was acknowledged
 ├── SessionQuarantined    the session's stored state is damaged
 ├── QuotaExceeded         the tenant has reached a limit
 ├── Overloaded            the queues are full
 ├── ReadingBehind         the text was not read within `answer_wait_seconds`; `read_bytes` of `accepted_bytes` were
 └── Draining              the server is shutting down
"""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """`param` is the field that is at fault; `members` are values that a program can use."""

    def __init__(self, detail: str, param: str | None = None, **members: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.param = param
        self.members = members


class InvalidField(Refusal):
    pass


class InvalidUtf8(Refusal):
    pass


class InvalidMemoryFile(Refusal):
    pass


class TextNotKept(Refusal):
    pass


class SessionExists(Refusal):
    pass


class SnapshotExists(Refusal):
    pass


class DocumentMissing(Refusal):
    pass


class TextMissing(Refusal):
    pass


class NotForgettable(Refusal):
    pass


class FormatNotSupported(Refusal):
    pass


class NotExtractable(Refusal):
    pass


class OffsetMismatch(Refusal):
    pass


class ContentConflict(Refusal):
    pass


class FingerprintMismatch(Refusal):
    pass


class TextRolledBack(Refusal):
    pass


class SessionQuarantined(Refusal):
    pass


class QuotaExceeded(Refusal):
    pass


class Overloaded(Refusal):
    pass


class ReadingBehind(Refusal):
    pass


class Draining(Refusal):
    pass
