"""The requests of the HTTP interface, one function each."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from onceread.wire.steps import SILENCE_SECONDS, Request

RECEIPT = "Onceread-Receipt"
EVENTS = "text/event-stream"
MEMORY = "application/octet-stream"
LONG_SILENCE_SECONDS = 600.0


def session_path(id: str, *parts: str) -> str:
    return "/v1/sessions/" + "/".join(quote(part, safe="") for part in (id, *parts))


def json_request(method: str, path: str, content: Mapping[str, Any], **more: Any) -> Request:
    headers = {"Content-Type": "application/json", **more.pop("headers", {})}
    return Request(method, path, headers, content=json.dumps(content).encode(), **more)


def receipt_headers(receipt: str | None) -> dict[str, str]:
    return {} if receipt is None else {RECEIPT: receipt}


def create(id: str, settings: Mapping[str, Any], repeatable: bool) -> Request:
    return json_request("POST", "/v1/sessions", {"id": id, **settings}, repeatable=repeatable)


def get(id: str) -> Request:
    return Request("GET", session_path(id), repeatable=True)


def list_sessions(limit: int, after: str | None) -> Request:
    params = {"limit": str(limit)} | ({} if after is None else {"after": after})
    return Request("GET", "/v1/sessions", params=params, repeatable=True)


def update(id: str, changes: Mapping[str, Any]) -> Request:
    return json_request("PATCH", session_path(id), changes, repeatable=True)


def delete(id: str) -> Request:
    return Request("DELETE", session_path(id), repeatable=True)


def append(id: str, position: int, piece: bytes, receipt: str | None, document: str | None = None) -> Request:
    """A resumable append (IETF draft *Resumable Uploads for HTTP*) with its digest (RFC 9530)."""
    headers = {
        "Content-Type": "application/partial-upload",
        "Upload-Offset": str(position),
        "Content-Digest": f"sha-256=:{b64encode(sha256(piece).digest()).decode()}:",
        **receipt_headers(receipt),
    }
    params = {} if document is None else {"document": document}
    return Request("PATCH", session_path(id, "text"), headers, params=params, content=piece, repeatable=True)


def empty_append(id: str, receipt: str | None) -> Request:
    """An append of no bytes: the server checks the receipt and returns a new one."""
    return Request(
        "POST", session_path(id, "text"), {"Content-Type": "text/plain", **receipt_headers(receipt)}, repeatable=True
    )


def follow_reading(id: str, end: int, receipt: str | None) -> Request:
    """An append of no bytes at `end`: a stream of progress until the text has been read so far."""
    headers = {"Content-Type": "text/plain", "Accept": EVENTS, "Upload-Offset": str(end), **receipt_headers(receipt)}
    return Request("POST", session_path(id, "text"), headers, repeatable=True)


def ask(id: str, question: Mapping[str, Any], receipt: str | None) -> Request:
    """A question may be repeated unless it is remembered. A streamed reply has a ping every few seconds."""
    return json_request(
        "POST",
        session_path(id, "queries"),
        question,
        headers=receipt_headers(receipt),
        repeatable=not question.get("remember", False),
        silence_seconds=SILENCE_SECONDS if question.get("stream") else LONG_SILENCE_SECONDS,
    )


def list_documents(id: str, limit: int, after: str | None) -> Request:
    """The documents of all text acknowledged before; the server reads what is still unread first."""
    params = {"limit": str(limit)} | ({} if after is None else {"after": after})
    path = session_path(id, "documents")
    return Request("GET", path, params=params, repeatable=True, silence_seconds=LONG_SILENCE_SECONDS)


def text(id: str, offset: int, size: int, snapshot: str | None) -> Request:
    """A range of all text acknowledged before; the server reads what is still unread first."""
    params = {"offset": str(offset), "bytes": str(size)} | ({} if snapshot is None else {"snapshot": snapshot})
    path = session_path(id, "text")
    return Request("GET", path, params=params, repeatable=True, silence_seconds=LONG_SILENCE_SECONDS)


def delete_document(id: str, name: str, snapshots: str) -> Request:
    """The server reads what is still unread first."""
    path, params = session_path(id, "documents", name), {"snapshots": snapshots}
    return Request("DELETE", path, params=params, repeatable=True, silence_seconds=LONG_SILENCE_SECONDS)


def take_snapshot(id: str, name: str) -> Request:
    return json_request(
        "POST", session_path(id, "snapshots"), {"name": name}, repeatable=True, silence_seconds=LONG_SILENCE_SECONDS
    )


def list_snapshots(id: str) -> Request:
    return Request("GET", session_path(id, "snapshots"), repeatable=True)


def get_snapshot(id: str, name: str) -> Request:
    return Request("GET", session_path(id, "snapshots", name), repeatable=True)


def delete_snapshot(id: str, name: str) -> Request:
    return Request("DELETE", session_path(id, "snapshots", name), repeatable=True)


def restore(id: str, name: str) -> Request:
    return json_request("POST", session_path(id, "restore"), {"snapshot": name}, repeatable=True)


def rebuild(id: str) -> Request:
    return Request("POST", session_path(id, "rebuild"), repeatable=True)


def save(id: str) -> Request:
    """The memory after all text acknowledged before; the server reads what is still unread first."""
    return Request("GET", session_path(id, "memory"), repeatable=True, silence_seconds=LONG_SILENCE_SECONDS)


def load(id: str, memory: bytes, repeatable: bool) -> Request:
    headers = {"Content-Type": MEMORY}
    return Request("PUT", session_path(id, "memory"), headers, content=memory, repeatable=repeatable)


def operation(name: str) -> Request:
    return Request("GET", f"/{name}", repeatable=True)
