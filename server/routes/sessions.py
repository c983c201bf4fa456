"""Sessions: create, list, get, delete.

It knows HTTP's side of a session; what a session is, the library knows.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from server.library import SessionView
from server.routes.shared import CONFLICT, PROBLEMS, TENANT, TOO_LARGE, TheKey, TheLibrary
from server.schemas import MemoryCounts, Session, SessionCreate, SessionId, SessionList, TextCounts

router = APIRouter(prefix="/v1/sessions", tags=["sessions"], responses=PROBLEMS)


def shown(view: SessionView) -> Session:
    record = view.record
    return Session(
        id=record.key.id,
        created_at=record.created_at,
        updated_at=record.updated_at,
        expires_at=record.expires_at,
        metadata=record.metadata,
        model=record.model,
        fingerprint=record.fingerprint,
        status=view.status,
        text=TextCounts(accepted_bytes=record.accepted_bytes, read_bytes=view.read_bytes, tokens=view.tokens),
        memory=MemoryCounts(version=view.version, segments=view.segments, bytes=view.memory_bytes),
    )


@router.post("", status_code=201, responses={**CONFLICT, **TOO_LARGE})
async def create(library: TheLibrary, response: Response, body: SessionCreate | None = None) -> Session:
    """Creates a session, empty and ready for text."""
    body = body or SessionCreate()
    session = shown(await library.create(TENANT, body.id, body.metadata, body.ttl_seconds))
    response.headers["Location"] = f"/v1/sessions/{session.id}"
    return session


@router.get("")
async def list_sessions(
    library: TheLibrary,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: SessionId | None = None,
) -> SessionList:
    """Sessions, newest first; `after` is the last id of the page before."""
    views, more = await library.page(TENANT, limit, after)
    data = [shown(view) for view in views]
    return SessionList(data=data, has_more=more, last_id=data[-1].id if data else None)


@router.get("/{id}")
async def get(library: TheLibrary, key: TheKey) -> Session:
    """A session as it is now."""
    return shown(await library.get(key))


@router.delete("/{id}", status_code=204)
async def delete(library: TheLibrary, key: TheKey) -> None:
    """Forgets the session, its text and its memory."""
    await library.delete(key)
