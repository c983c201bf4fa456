"""/v1/sessions/{id}/documents: the documents of a session's text."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from server.http.routes.shared import PROBLEMS, RECEIPT, TheKey, TheService, while_connected
from server.http.schemas import DocumentDeleted, DocumentList, DocumentName, ListedDocument

router = APIRouter(prefix="/v1/sessions/{id}/documents", tags=["documents"], responses=PROBLEMS)


@router.get("")
async def list_documents(
    request: Request,
    service: TheService,
    key: TheKey,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    after: DocumentName | None = None,
) -> DocumentList:
    """Lists the documents in the order of the text; `after` is the last id of the previous page."""
    found, more = await while_connected(request, service.documents.page(key, limit, after))
    data = [
        ListedDocument(name=document.name, offset=document.offset, bytes=document.size, tokens=document.tokens)
        for document in found
    ]
    return DocumentList(data=data, has_more=more, last_id=data[-1].name if data else None)


@router.delete("/{name:path}")
async def delete_document(
    request: Request,
    service: TheService,
    key: TheKey,
    response: Response,
    name: DocumentName,
    snapshots: Annotated[Literal["keep", "follow"], Query()] = "keep",
) -> DocumentDeleted:
    """Deletes a document for certain: from memory, checkpoints and kept text, and from snapshots that follow.

    All text acknowledged before is read first. Forks of the session are sessions of their own, and keep it.
    """
    deleted = await while_connected(request, service.deletion.delete(key, name, snapshots == "follow"))
    response.headers[RECEIPT] = deleted.receipt
    return DocumentDeleted(
        session=key.id,
        name=deleted.name,
        deleted_at=deleted.record.updated_at,
        bytes=sum(end - begin for begin, end in deleted.ranges),
        tokens=deleted.tokens,
        ranges=list(deleted.ranges),
        snapshots={"followed": list(deleted.followed), "kept": list(deleted.kept)},
        receipt=deleted.receipt,
    )
