"""Health check of the image: exits with 0 if /livez of the server in this container answers 200, else with 1.

Uses only Python's standard library.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException

SECONDS = 4


def main() -> int:
    host = os.environ.get("ONCEREAD_HOST", "127.0.0.1")
    everywhere = host in ("", "0.0.0.0", "::")
    connection = HTTPConnection(
        "127.0.0.1" if everywhere else host, int(os.environ.get("ONCEREAD_PORT", "8000")), timeout=SECONDS
    )
    try:
        connection.request("GET", "/livez")
        status = connection.getresponse().status
    except (OSError, HTTPException) as error:
        print(f"no answer from the server: {error}", file=sys.stderr)
        return 1
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
