"""How long a body may keep the server waiting: at least so many bytes a second, on the average of some time.

Pure: it is told the time and the bytes, and knows no sockets.
"""

from __future__ import annotations


class Patience:
    """Seconds in hand: waiting costs them, bytes give them back, and there are never more than at first."""

    def __init__(self, bytes_per_second_min: float, seconds: float) -> None:
        self._bytes_per_second, self._most_seconds = bytes_per_second_min, seconds
        self._left_seconds = seconds

    def received(self, length_bytes: int) -> None:
        self._left_seconds = min(self._most_seconds, self._left_seconds + length_bytes / self._bytes_per_second)

    def waited(self, seconds: float) -> None:
        self._left_seconds -= seconds

    @property
    def is_over(self) -> bool:
        return self._left_seconds < 0
