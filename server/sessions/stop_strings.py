"""Stop strings: an answer ends before the first complete one."""

from __future__ import annotations

from collections.abc import Sequence


class StopCut:
    """Releases streamed text, except an end that may be the beginning of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that cannot be part of a stop string; nothing once a stop string was complete."""
        if self.stopped:
            return ""
        self._held += text
        # The first complete one counts, so that the result does not depend on how the text was cut.
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)[1]]
        sure = len(self._held) - self._beginning()
        released, self._held = self._held[:sure], self._held[sure:]
        return released

    def finish(self) -> str:
        """The text still held back, at the end of the answer."""
        return "" if self.stopped else self._held

    def _beginning(self) -> int:
        """How many of the last characters may begin a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for count in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-count:]) for stop in self._stops):
                return count
        return 0
