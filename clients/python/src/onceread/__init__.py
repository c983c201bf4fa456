"""The client of Onceread: texts of any length are read once into a memory of bounded size, and answer questions.

client = Onceread("http://127.0.0.1:8000")
session = client.sessions.create(metadata={"title": "Middlemarch"})
session.read(Path("middlemarch.txt"))
print(session.ask("Where is Mary?").text)
"""

from onceread._async.client import AsyncOnceread
from onceread._async.session import AsyncAnswerStream, AsyncSession
from onceread._sync.client import Onceread
from onceread._sync.session import AnswerStream, Session
from onceread.connection_config import VERSION
from onceread.errors import ApiError, ConnectionFailed, OncereadError
from onceread.results import Answer, Document, Progress, SessionInfo, Snapshot, Source, TextRange
from onceread.wire.retries import Retries

__version__ = VERSION
__all__ = [
    "Answer",
    "AnswerStream",
    "ApiError",
    "AsyncAnswerStream",
    "AsyncOnceread",
    "AsyncSession",
    "ConnectionFailed",
    "Document",
    "Onceread",
    "OncereadError",
    "Progress",
    "Retries",
    "Session",
    "SessionInfo",
    "Snapshot",
    "Source",
    "TextRange",
]
