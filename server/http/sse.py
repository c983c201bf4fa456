"""Server-sent events as bytes.

Pure: it knows the format (HTML standard, section 9.2), and nothing of connections or time.
"""

from __future__ import annotations

import json
from typing import Any

PING = b": ping\n\n"
MEDIA_TYPE = "text/event-stream"


def event(name: str, data: dict[str, Any]) -> bytes:
    """One event; JSON keeps its data on a single line, whatever the text in it."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
