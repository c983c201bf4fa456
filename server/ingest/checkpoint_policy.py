"""How fast memories may be stored: so many bytes a second for a whole server, and a small share of each session's time.

Pure: it is told the time and the bytes, and knows neither sessions nor stores.
"""

from __future__ import annotations

# Of the time between two checkpoints of a session, so much may go into storing one: a twentieth.
STORING_SHARE = 0.05


class CheckpointRate:
    """A bucket that fills with time: what was stored beyond it is waited for before the next is stored."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def wait_seconds(self, size_bytes: int, now_seconds: float) -> float:
        """How long to wait before storing so much; it counts as stored then."""
        begin = max(self._free_at, now_seconds)
        self._free_at = begin + size_bytes / self._bytes_per_second
        return begin - now_seconds


def is_due(segments: int, segments_min: int, age_seconds: float, age_seconds_max: float, last_seconds: float) -> bool:
    """Whether a memory is to be stored: it is old, or has read enough while the last one's storing has paid off."""
    if segments == 0:
        return False
    return age_seconds >= age_seconds_max or (segments >= segments_min and last_seconds <= STORING_SHARE * age_seconds)
