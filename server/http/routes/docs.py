"""The API's description for people, at `/docs`: Swagger UI with files of this server alone.

The package fastapi-swagger has Swagger UI's files; `server/http/docs` the page around them.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.http.files import BrowserFiles

OWN = Path(__file__).resolve().parents[1] / "docs"
SWAGGER_UI = Path(str(resources.files("fastapi_swagger.resources")))
_FILES = BrowserFiles(OWN, SWAGGER_UI)
router = APIRouter(include_in_schema=False)


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs(request: Request) -> Response:
    return await _FILES.get_response("index.html", request.scope)


@router.api_route("/docs/{path:path}", methods=["GET", "HEAD"])
async def file(request: Request, path: str) -> Response:
    return await _FILES.get_response(path, request.scope)
