"""Sessions and their copies: create, get, list, update, delete; snapshots, restore, save and load.

Each flow may repeat its request after a failure, and takes the traces of an earlier try for the result of this call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onceread import errors
from onceread.results import Document, ServerInfo, SessionInfo, SessionPage, Snapshot, TextRange
from onceread.wire import replies, requests
from onceread.wire.retries import Attempts, Retries, exchange
from onceread.wire.steps import Flow, Reply, Request

PAGE_SESSIONS = PAGE_DOCUMENTS = 100
DURABILITY = "Onceread-Durability"


class SessionHandle:
    """A session's id, its latest receipt, and what its acknowledged text survives (`durability`)."""

    def __init__(self, id: str, receipt: str | None = None) -> None:
        self.id = id
        self.receipt = receipt
        self.durability: str | None = None

    def update(self, reply: Reply) -> None:
        """Takes the receipt and the durability from the headers of a reply."""
        self.receipt = reply.headers.get(requests.RECEIPT.lower(), self.receipt)
        self.durability = reply.headers.get(DURABILITY.lower(), self.durability)


def create(id: str, generated_id: bool, settings: Mapping[str, Any], retries: Retries) -> Flow[SessionInfo]:
    """A new session. A generated id is unique: a session that has it already was made by an earlier try."""
    try:
        reply = yield from exchange(requests.create(id, settings, generated_id), Attempts(retries))
    except errors.SessionExists:
        if not generated_id:
            raise
        return (yield from get(id, retries))
    return _session(reply)


def load(id: str, generated_id: bool, memory: bytes, retries: Retries) -> Flow[SessionInfo]:
    """A new session with a saved memory."""
    try:
        yield from exchange(requests.load(id, memory, generated_id), Attempts(retries))
    except errors.SessionExists:
        if not generated_id:
            raise
    return (yield from get(id, retries))


def get(id: str, retries: Retries) -> Flow[SessionInfo]:
    return _session((yield from exchange(requests.get(id), Attempts(retries))))


def get_with_receipt(handle: SessionHandle, retries: Retries) -> Flow[SessionInfo]:
    """The session, once the server has confirmed that no text is lost that the handle's receipt covers."""
    if handle.receipt is not None:
        handle.update((yield from exchange(requests.empty_append(handle.id, handle.receipt), Attempts(retries))))
    return (yield from get(handle.id, retries))


def list_page(after: str | None, retries: Retries) -> Flow[SessionPage]:
    """A page of sessions, newest first."""
    reply = yield from exchange(requests.list_sessions(PAGE_SESSIONS, after), Attempts(retries))
    return replies.page(replies.json_object(reply))


def update(id: str, changes: Mapping[str, Any], retries: Retries) -> Flow[SessionInfo]:
    return _session((yield from exchange(requests.update(id, changes), Attempts(retries))))


def delete(id: str, retries: Retries) -> Flow[None]:
    yield from _delete(requests.delete(id), retries)


def restore(handle: SessionHandle, name: str, retries: Retries) -> Flow[SessionInfo]:
    """Goes back to a snapshot; the receipt of text that came after it no longer holds."""
    reply = yield from exchange(requests.restore(handle.id, name), Attempts(retries))
    handle.receipt = None
    handle.update(reply)
    return _session(reply)


def rebuild(handle: SessionHandle, retries: Retries) -> Flow[SessionInfo]:
    reply = yield from exchange(requests.rebuild(handle.id), Attempts(retries))
    handle.update(reply)
    return _session(reply)


def list_documents(id: str, retries: Retries) -> Flow[list[Document]]:
    """All documents of the session, in the order of the text, page by page."""
    found: list[Document] = []
    while True:
        after = found[-1].name if found else None
        reply = yield from exchange(requests.list_documents(id, PAGE_DOCUMENTS, after), Attempts(retries))
        body = replies.json_object(reply)
        page = replies.documents(body)
        found += page
        if not (page and body.get("has_more")):
            return found


def text(id: str, offset: int, size: int, snapshot: str | None, retries: Retries) -> Flow[TextRange]:
    reply = yield from exchange(requests.text(id, offset, size, snapshot), Attempts(retries))
    return replies.text(replies.json_object(reply))


def delete_document(handle: SessionHandle, name: str, snapshots: bool, retries: Retries) -> Flow[None]:
    """Deletes a document. After a lost reply a missing document was deleted by the earlier try."""
    attempts = Attempts(retries)
    try:
        request = requests.delete_document(handle.id, name, "follow" if snapshots else "keep")
        handle.update((yield from exchange(request, attempts)))
    except errors.DocumentNotFound:
        if not attempts.maybe_executed:
            raise


def take_snapshot(id: str, name: str, retries: Retries) -> Flow[Snapshot]:
    """Keeps the memory under a name. After a lost reply an existing snapshot is that of the earlier try."""
    attempts = Attempts(retries)
    try:
        reply = yield from exchange(requests.take_snapshot(id, name), attempts)
    except errors.SnapshotExists:
        if not attempts.maybe_executed:
            raise
        reply = yield from exchange(requests.get_snapshot(id, name), attempts)
    return replies.snapshot(replies.json_object(reply))


def list_snapshots(id: str, retries: Retries) -> Flow[list[Snapshot]]:
    reply = yield from exchange(requests.list_snapshots(id), Attempts(retries))
    return replies.snapshots(replies.json_object(reply))


def delete_snapshot(id: str, name: str, retries: Retries) -> Flow[None]:
    yield from _delete(requests.delete_snapshot(id, name), retries)


def save(handle: SessionHandle, retries: Retries) -> Flow[bytes]:
    """The memory as a safetensors file."""
    reply = yield from exchange(requests.save(handle.id), Attempts(retries))
    handle.update(reply)
    return reply.body


def server_info(retries: Retries) -> Flow[ServerInfo]:
    """The server's version, model and fingerprint."""
    version = yield from exchange(requests.operation("version"), Attempts(retries))
    return replies.server_info(replies.json_object(version))


def ready(retries: Retries) -> Flow[None]:
    """Returns when the server is ready for work."""
    yield from exchange(requests.operation("readyz"), Attempts(retries))


def metrics(retries: Retries) -> Flow[str]:
    reply = yield from exchange(requests.operation("metrics"), Attempts(retries))
    return reply.body.decode()


def _delete(request: Request, retries: Retries) -> Flow[None]:
    """Deletes. After a lost reply a missing resource was deleted by the earlier try."""
    attempts = Attempts(retries)
    try:
        yield from exchange(request, attempts)
    except errors.Missing:
        if not attempts.maybe_executed:
            raise


def _session(reply: Reply) -> SessionInfo:
    return replies.session(replies.json_object(reply))
