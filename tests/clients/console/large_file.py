"""Measures a tab while it sends a file of 2 GB: `python -m tests.clients.console.large_file [MIB]`.

Prints the tab's JavaScript heap and the most resident memory that its process has had. The folder for
temporary files (TMPDIR) needs room for the file twice; all of it is deleted again. Nothing waits until it is read.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from playwright.sync_api import expect

from testing.browser import Tabs, launched
from testing.serving import Server
from tests.clients.console.tab_memory import tab_memory
from tests.clients.console.uploads import MIB, choose, new_session, row, save_weights, written

# 2 GB.
SIZE_MIB = 1907
LIMIT_MILLISECONDS = 3_600_000


def main(mib: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        file = written(place / "large.txt", mib)
        store, unread = f"sqlite:///{place / 'store'}", str(4096 * MIB)
        with (
            Server(save_weights(place / "weights"), store, backlog_bytes=unread) as server,
            launched() as browser,
            closing(Tabs(browser, server.url)) as tabs,
        ):
            page = tabs.open()
            new_session(page)
            before = tab_memory(browser, page)
            began = time.monotonic()
            choose(page, file)
            expect(row(page, "large.txt")).to_have_class(re.compile("^(sent|finished)$"), timeout=LIMIT_MILLISECONDS)
            seconds = time.monotonic() - began
            after = tab_memory(browser, page)
    print(f"{mib * MIB / 1e6:,.0f} MB were sent in {seconds:,.0f} s")
    print(f"JavaScript heap: {before.heap_bytes / 1e6:.1f} MB before, {after.heap_bytes / 1e6:.1f} MB after")
    print(f"process, at most: {before.peak_bytes / 1e6:.0f} MB before, {after.peak_bytes / 1e6:.0f} MB after")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else SIZE_MIB)
