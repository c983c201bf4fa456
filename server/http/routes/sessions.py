"""Sessions: create, list, get, update, delete."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from server.http.routes.shared import CONFLICT, PROBLEMS, TOO_LARGE, TheKey, TheService, TheTenant, while_connected
from server.http.schemas import (
    MemoryCounts,
    Session,
    SessionCreate,
    SessionId,
    SessionList,
    SessionRevise,
    TextCounts,
)
from server.sessions.registry import NewSession, SessionView
from server.store.base import SessionKey

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
async def create_session(
    request: Request, service: TheService, tenant: TheTenant, response: Response, body: SessionCreate | None = None
) -> Session:
    """Creates an empty session, or with `from` a fork of another session or of its snapshot."""
    body = body or SessionCreate()
    new = NewSession(body.id, body.metadata, body.ttl_seconds, body.keep_text)
    if body.source is None:
        view = await service.registry.create(tenant, new)
    else:
        source = SessionKey(tenant, body.source.session)
        view = await while_connected(request, service.snapshots.fork(source, body.source.snapshot, new))
    response.headers["Location"] = f"/v1/sessions/{view.record.key.id}"
    return shown(view)


@router.get("")
async def list_sessions(
    service: TheService,
    tenant: TheTenant,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: SessionId | None = None,
) -> SessionList:
    """Lists the tenant's sessions, newest first; `after` is the last id of the previous page."""
    views, more = await service.registry.page(tenant, limit, after)
    data = [shown(view) for view in views]
    return SessionList(data=data, has_more=more, last_id=data[-1].id if data else None)


@router.get("/{id}")
async def get_session(service: TheService, key: TheKey) -> Session:
    """Gets a session."""
    return shown(await service.registry.get(key))


@router.patch("/{id}", responses=TOO_LARGE)
async def update_session(service: TheService, key: TheKey, body: SessionRevise) -> Session:
    """Updates metadata or time to live; `ttl_seconds: null` removes the expiry."""
    return shown(await service.registry.revise(key, body.change))


@router.delete("/{id}", status_code=204)
async def delete_session(service: TheService, key: TheKey) -> None:
    """Deletes the session with its text, memory and snapshots."""
    await service.registry.delete(key)
