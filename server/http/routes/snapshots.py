"""Snapshots of a session, restore, rebuild, and export and import of its memory."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from server.http.refusals import BodyTooLarge
from server.http.routes.sessions import shown
from server.http.routes.shared import (
    CONFLICT,
    PROBLEMS,
    TOO_LARGE,
    WRONG_TYPE,
    SnapshotPath,
    TheKey,
    TheService,
    while_connected,
)
from server.http.schemas import MemoryCounts, Restore, Session, Snapshot, SnapshotCreate, SnapshotList
from server.store import base

router = APIRouter(prefix="/v1/sessions/{id}", tags=["snapshots"], responses=PROBLEMS)

# Safetensors has no registered media type.
MEMORY_TYPE = "application/octet-stream"
_FILE: dict[str, Any] = {"content": {MEMORY_TYPE: {"schema": {"type": "string", "format": "binary"}}}}


def _shown(id: str, snapshot: base.Snapshot) -> Snapshot:
    info = snapshot.info
    return Snapshot(
        session=id,
        name=snapshot.name,
        created_at=snapshot.created_at,
        fingerprint=snapshot.fingerprint,
        offset=info.offset,
        tokens=info.tokens,
        memory=MemoryCounts(version=info.version, segments=info.segments, bytes=info.memory_bytes),
    )


@router.post("/snapshots", status_code=201, responses={**CONFLICT, **TOO_LARGE})
async def create_snapshot(
    request: Request, service: TheService, key: TheKey, response: Response, body: SnapshotCreate
) -> Snapshot:
    """Creates a snapshot of the memory as of all text acknowledged before."""
    snapshot = await while_connected(request, service.snapshots.take(key, body.name))
    response.headers["Location"] = f"/v1/sessions/{key.id}/snapshots/{snapshot.name}"
    return _shown(key.id, snapshot)


@router.get("/snapshots")
async def list_snapshots(service: TheService, key: TheKey) -> SnapshotList:
    """Lists a session's snapshots, newest first."""
    return SnapshotList(data=[_shown(key.id, snapshot) for snapshot in await service.snapshots.snapshots(key)])


@router.get("/snapshots/{name}")
async def get_snapshot(service: TheService, key: TheKey, name: SnapshotPath) -> Snapshot:
    """Gets one snapshot."""
    found = [snapshot for snapshot in await service.snapshots.snapshots(key) if snapshot.name == name]
    if not found:
        raise base.SnapshotMissing(f"there is no snapshot {name}")
    return _shown(key.id, found[0])


@router.delete("/snapshots/{name}", status_code=204)
async def delete_snapshot(service: TheService, key: TheKey, name: SnapshotPath) -> None:
    """Deletes a snapshot."""
    await service.snapshots.drop(key, name)


@router.post("/restore", responses={**CONFLICT, **TOO_LARGE})
async def restore_snapshot(service: TheService, key: TheKey, body: Restore) -> Session:
    """Restores the session to a snapshot; text and memory after it are discarded."""
    return shown(await service.snapshots.restore(key, body.snapshot))


@router.post("/rebuild", responses=CONFLICT)
async def rebuild_session(service: TheService, key: TheKey) -> Session:
    """Reads the kept text (`keep_text`) again from the start, with the weights that are served."""
    return shown(await service.snapshots.rebuild(key))


@router.get("/memory", response_class=Response, responses={200: _FILE, **CONFLICT})
async def export_memory(request: Request, service: TheService, key: TheKey) -> Response:
    """Exports the memory as of all text acknowledged before, as a safetensors file."""
    record, offset, file = await while_connected(request, service.snapshots.exported(key))
    headers = {
        "Content-Disposition": f'attachment; filename="{key.id}.safetensors"',
        "Onceread-Offset": str(offset),
        "Onceread-Fingerprint": record.fingerprint,
        "Cache-Control": "no-store",
    }
    return Response(file, media_type=MEMORY_TYPE, headers=headers)


@router.put(
    "/memory",
    status_code=201,
    responses={**CONFLICT, **TOO_LARGE, **WRONG_TYPE},
    openapi_extra={"requestBody": {"required": True, **_FILE}},
)
async def import_memory(request: Request, service: TheService, key: TheKey, response: Response) -> Session:
    """Creates a session from an exported memory, a file that `GET …/memory` returned."""
    file = bytearray()
    async for chunk in request.stream():
        file += chunk
        if len(file) > service.snapshots.file_bytes_max:
            raise BodyTooLarge(
                f"a memory of these weights has at most {service.snapshots.file_bytes_max} bytes; send an exported file"
            )
    view = await service.snapshots.imported(key, bytes(file))
    response.headers["Location"] = f"/v1/sessions/{key.id}"
    return shown(view)
