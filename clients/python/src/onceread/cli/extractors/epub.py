"""The text of an EPUB book: its chapters, in the order of its spine (EPUB 3.3, sections 3 to 5)."""

from __future__ import annotations

from posixpath import dirname, join, normpath
from typing import BinaryIO
from urllib.parse import unquote
from xml.etree import ElementTree
from zipfile import ZipFile

from onceread.cli.extractors.html import text_of

NAME = "EPUB book"
CONTAINER = "META-INF/container.xml"
HTML_TYPES = ("application/xhtml+xml", "text/html")


def text(file: BinaryIO, name: str, encoding: str) -> str:
    """The encoding is ignored: a book states its own."""
    with ZipFile(file) as book:
        return "\n".join(text_of(book.read(chapter).decode("utf-8-sig")) for chapter in _chapters(book))


def _chapters(book: ZipFile) -> list[str]:
    """The names of the chapters in the archive."""
    container = ElementTree.fromstring(book.read(CONTAINER))
    package_name = container.find(".//{*}rootfile")
    if package_name is None:
        raise KeyError(f"{CONTAINER} names no package")
    place = package_name.attrib["full-path"]
    package = ElementTree.fromstring(book.read(place))
    items = {item.attrib["id"]: item.attrib for item in package.iterfind("{*}manifest/{*}item")}
    spine = [items[reference.attrib["idref"]] for reference in package.iterfind("{*}spine/{*}itemref")]
    return [
        normpath(join(dirname(place), unquote(item["href"]))) for item in spine if item.get("media-type") in HTML_TYPES
    ]
