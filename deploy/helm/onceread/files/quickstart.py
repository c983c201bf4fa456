"""The README's sixty seconds against ONCEREAD_URL: reads a fact, asks for it, and deletes the session.

With API keys it only checks that the server is ready and refuses a request without a key. Needs only Python.
"""

import json
import os
import secrets
from urllib.error import HTTPError
from urllib.request import Request, urlopen

BASE = os.environ["ONCEREAD_URL"]
FACT = "Mary went to the kitchen. "


def call(method: str, path: str, body: bytes | None = None, kind: str = "application/json") -> bytes:
    request = Request(BASE + path, data=body, method=method, headers={"Content-Type": kind})
    with urlopen(request, timeout=60) as reply:
        return bytes(reply.read())


def main() -> None:
    call("GET", "/readyz")
    if os.environ.get("ONCEREAD_OPEN") != "true":
        try:
            call("GET", "/v1/sessions")
        except HTTPError as error:
            if error.code != 401:
                raise
            print("ready, and requires a key")
            return
        raise AssertionError("a request without a key was answered")
    session = "test-" + secrets.token_hex(8)
    call("POST", "/v1/sessions", json.dumps({"id": session}).encode())
    try:
        call("POST", f"/v1/sessions/{session}/text?wait=read", FACT.encode(), "text/plain")
        answer = json.loads(
            call("POST", f"/v1/sessions/{session}/queries", json.dumps({"question": "Where is Mary?"}).encode())
        )
    finally:
        call("DELETE", f"/v1/sessions/{session}")
    print("answered:", answer["answer"])
    assert answer["memory"]["offset"] == len(FACT), answer


main()
