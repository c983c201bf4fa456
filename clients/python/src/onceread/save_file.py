"""Files that are written atomically."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile


def save_file(path: Path, content: bytes) -> None:
    """Replaces the file atomically: a reader sees the old content or the new."""
    with NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except BaseException:
            os.unlink(file.name)
            raise
