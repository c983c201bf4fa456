"""Imports in the client: the protocol does no I/O, and the library does not need the command line."""

from __future__ import annotations

from functools import cache

import grimp

IO = {"httpx", "httpx_sse", "anyio", "asyncio", "threading", "time", "socket", "ssl", "os", "pathlib", "tempfile", "io"}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("onceread", include_external_packages=True, cache_dir=None)


def imported(package: str) -> set[str]:
    modules = {package} | graph().find_descendants(package)
    return {found for module in modules for found in graph().find_modules_directly_imported_by(module)}


def test_the_protocol_imports_no_io() -> None:
    names = imported("onceread.wire")
    assert not names & IO
    ours = {name for name in names if name.startswith("onceread.") and not name.startswith("onceread.wire.")}
    assert ours == {"onceread.errors", "onceread.results"}


def test_the_library_does_not_import_the_command_line() -> None:
    above = {"onceread.__main__"} | {"onceread.cli"} | graph().find_descendants("onceread.cli")
    library = graph().find_descendants("onceread") - above
    for module in library:
        assert not graph().find_modules_directly_imported_by(module) & (above | {"typer", "rich"}), module


def test_a_format_library_is_imported_by_its_extractor_only() -> None:
    for library, module in (
        ("inscriptis", "html"),
        ("pypdf", "pdf"),
        ("markdown_it", "markdown"),
        ("mammoth", "docx"),
    ):
        assert graph().find_modules_that_directly_import(library) == {f"onceread.cli.extractors.{module}"}
