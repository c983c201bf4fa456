"""The page for people, at `/`, and its files, below `/console/`: `clients/console/page` as it lies in the tree."""

from __future__ import annotations

import logging
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from server.http.files import BrowserFiles
from server.settings import ListenSettings

log = logging.getLogger(__name__)
FOLDER = Path(__file__).resolve().parents[3] / "clients" / "console" / "page"
_FILES = BrowserFiles(FOLDER)
router = APIRouter(include_in_schema=False)


def is_served(settings: ListenSettings) -> bool:
    """Whether the settings ask for the page, and this installation has its files."""
    if settings.page and not (FOLDER / "index.html").is_file():
        log.warning("no page at /: its files are not in %s", FOLDER)
        return False
    return settings.page


@router.api_route("/", methods=["GET", "HEAD"])
async def index(request: Request) -> Response:
    return await _FILES.get_response("index.html", request.scope)


@router.api_route("/console/{path:path}", methods=["GET", "HEAD"])
async def file(request: Request, path: str) -> Response:
    return await _FILES.get_response(path, request.scope)
