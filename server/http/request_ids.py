"""A request's id: the caller's own where it is one, or a new one.

It knows nothing of the request.
"""

from __future__ import annotations

import re
import secrets

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id(given: str = "") -> str:
    return given if _ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
