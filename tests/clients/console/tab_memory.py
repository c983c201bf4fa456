"""How much memory a tab takes: its JavaScript heap, and the most that its process has had."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from playwright.sync_api import Browser, Page


class TabMemory(NamedTuple):
    """In bytes; `peak_bytes` is the resident memory of the largest process that shows pages."""

    heap_bytes: int
    peak_bytes: int


def tab_memory(browser: Browser, page: Page) -> TabMemory:
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    peaks = [_peak_bytes(process["id"]) for process in processes if process["type"] == "renderer"]
    heap = page.context.new_cdp_session(page).send("Runtime.getHeapUsage")
    return TabMemory(int(heap["usedSize"]) + int(heap.get("backingStorageSize", 0)), max(peaks))


def _peak_bytes(process: int) -> int:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    assert found, f"the kernel does not say how much memory process {process} had"
    return 1024 * int(found[1])
