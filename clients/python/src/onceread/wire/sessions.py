"""Sessions and their copies: created, found, changed, deleted; forked, kept under names, saved and loaded.

Pure: it knows which calls may be made twice and what a second answer then means, and nothing of text or questions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onceread import errors
from onceread.results import ServerInfo, SessionInfo, SessionPage, Snapshot
from onceread.wire import replies, requests
from onceread.wire.handle import Handle
from onceread.wire.retrying import Attempts, Retries, exchanged
from onceread.wire.steps import Flow, Reply, Request

PAGE_SESSIONS = 100


def created(id: str, made_up: bool, settings: Mapping[str, Any], retries: Retries) -> Flow[SessionInfo]:
    """A new session. An id that was `made_up` is nobody else's: where it exists already, an earlier try made it."""
    try:
        reply = yield from exchanged(requests.create(id, settings, made_up), Attempts(retries))
    except errors.SessionExists:
        if not made_up:
            raise
        return (yield from found(id, retries))
    return _session(reply)


def loaded(id: str, made_up: bool, memory: bytes, retries: Retries) -> Flow[SessionInfo]:
    """A new session with a memory that was saved."""
    try:
        yield from exchanged(requests.load(id, memory, made_up), Attempts(retries))
    except errors.SessionExists:
        if not made_up:
            raise
    return (yield from found(id, retries))


def found(id: str, retries: Retries) -> Flow[SessionInfo]:
    return _session((yield from exchanged(requests.get(id), Attempts(retries))))


def vouched_for(handle: Handle, retries: Retries) -> Flow[SessionInfo]:
    """Likewise, once the server has honoured the handle's receipt, where there is one."""
    if handle.receipt is not None:
        handle.note((yield from exchanged(requests.nothing(handle.id, handle.receipt), Attempts(retries))))
    return (yield from found(handle.id, retries))


def page(after: str | None, retries: Retries) -> Flow[SessionPage]:
    """A page of sessions, newest first."""
    reply = yield from exchanged(requests.page(PAGE_SESSIONS, after), Attempts(retries))
    return replies.page(replies.object_in(reply))


def updated(id: str, changes: Mapping[str, Any], retries: Retries) -> Flow[SessionInfo]:
    return _session((yield from exchanged(requests.update(id, changes), Attempts(retries))))


def deleted(id: str, retries: Retries) -> Flow[None]:
    yield from _gone(requests.delete(id), retries)


def restored(handle: Handle, name: str, retries: Retries) -> Flow[SessionInfo]:
    """Back to a snapshot: a receipt of what came after it is no longer one of anything."""
    reply = yield from exchanged(requests.restore(handle.id, name), Attempts(retries))
    handle.receipt = None
    handle.note(reply)
    return _session(reply)


def rebuilt(handle: Handle, retries: Retries) -> Flow[SessionInfo]:
    reply = yield from exchanged(requests.rebuild(handle.id), Attempts(retries))
    handle.note(reply)
    return _session(reply)


def snapshot_taken(id: str, name: str, retries: Retries) -> Flow[Snapshot]:
    """Keeps the memory under a name; where a lost try did so, its snapshot is the one."""
    attempts = Attempts(retries)
    try:
        reply = yield from exchanged(requests.snapshot(id, name), attempts)
    except errors.SnapshotExists:
        if not attempts.unsure:
            raise
        reply = yield from exchanged(requests.get_snapshot(id, name), attempts)
    return replies.snapshot(replies.object_in(reply))


def snapshots(id: str, retries: Retries) -> Flow[list[Snapshot]]:
    reply = yield from exchanged(requests.snapshots(id), Attempts(retries))
    return replies.snapshots(replies.object_in(reply))


def snapshot_deleted(id: str, name: str, retries: Retries) -> Flow[None]:
    yield from _gone(requests.delete_snapshot(id, name), retries)


def saved(handle: Handle, retries: Retries) -> Flow[bytes]:
    """The memory as a safetensors file."""
    reply = yield from exchanged(requests.save(handle.id), Attempts(retries))
    handle.note(reply)
    return reply.body


def server(retries: Retries) -> Flow[ServerInfo]:
    """What the server says of itself."""
    version = yield from exchanged(requests.operation("version"), Attempts(retries))
    return replies.server(replies.object_in(version))


def ready(retries: Retries) -> Flow[None]:
    """Returns when the server takes work."""
    yield from exchanged(requests.operation("readyz"), Attempts(retries))


def metrics(retries: Retries) -> Flow[str]:
    reply = yield from exchanged(requests.operation("metrics"), Attempts(retries))
    return reply.body.decode()


def _gone(request: Request, retries: Retries) -> Flow[None]:
    """Deletes; what is not there after a lost try was deleted by it."""
    attempts = Attempts(retries)
    try:
        yield from exchanged(request, attempts)
    except errors.Missing:
        if not attempts.unsure:
            raise


def _session(reply: Reply) -> SessionInfo:
    return replies.session(replies.object_in(reply))
