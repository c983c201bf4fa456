"""/v1/sessions/{id}/documents: the documents of a session's text."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from server.http.routes.shared import PROBLEMS, TheKey, TheService, while_connected
from server.http.schemas import DocumentList, DocumentName, ListedDocument

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
