"""Where an answer stops: the text before the stop string that is whole first, given out as soon as it is sure.

Pure: it knows text as it comes, and nothing of tokens or models.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopCut:
    """Holds back what may be the beginning of a stop string until it is known whether it is."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def push(self, text: str) -> str:
        """The text that is sure by now; nothing any more once a stop string was there."""
        if self.stopped:
            return ""
        self._held += text
        # The one that is whole first counts, so that it does not matter in which pieces the text came.
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._held[: min(found)[1]]
        sure = len(self._held) - self._beginning()
        released, self._held = self._held[:sure], self._held[sure:]
        return released

    def finish(self) -> str:
        """What was held back in vain."""
        return "" if self.stopped else self._held

    def _beginning(self) -> int:
        """How many last characters may be the first of a stop string."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for count in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-count:]) for stop in self._stops):
                return count
        return 0
