"""What can go wrong while text becomes memory, beside the store's and the engine's own errors.

IngestError
 ├── MemoryDamaged     the stored memory is damaged beyond repair; the session is quarantined
 ├── ReaderDropped     the reader ended before the text was read, because its memory is no longer valid
 ├── ReadingFailed     the model failed at the session's text
 └── ReaderStopped     the server is shutting down, so no more text is read
"""

from __future__ import annotations


class IngestError(Exception):
    """Any error of this package."""


class MemoryDamaged(IngestError):
    """The session's stored memory is damaged beyond repair; the session is quarantined and not used."""


class ReaderDropped(IngestError):
    """The reader ended before the text was read, because its memory is no longer valid; the store has the truth."""


class ReadingFailed(IngestError):
    """The model failed at the session's text, also without other work beside it; the text is kept."""


class ReaderStopped(IngestError):
    """The server is shutting down, so no more text is read."""
