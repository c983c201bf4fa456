"""Assigns sessions to the lanes of a wavefront: which lane a segment enters, and whose memory each departure is."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from model.memory import MemoryState
from model.runtime.wavefront.wavefront import Arrival, Wavefront


@dataclass(frozen=True, eq=False)
class Next:
    """A session's next segment (T), and the last of the skipped segments (1, T) directly before it, if any.

    The first segment brings the memory. After the `last` one the lane is free for another session.
    """

    segment: Tensor
    memory: MemoryState | None = None
    skipped: Tensor | None = None
    last: bool = False


class Pipeline:
    """Each session keeps a lane from its first segment to its last, with any number of steps between two segments.

    The memory is returned L - 1 steps after the step that took the last segment. A refused step changes nothing.
    """

    def __init__(self, wavefront: Wavefront) -> None:
        self._wavefront = wavefront
        self._flow = wavefront.begin()
        self._lanes: list[Hashable | None] = [None] * wavefront.lanes
        self._leaving: set[Hashable] = set()

    @property
    def inside(self) -> set[Hashable]:
        """The sessions that keep a lane, or whose memory has not been returned yet."""
        return self._leaving.union(key for key in self._lanes if key is not None)

    def step(self, offered: Mapping[Hashable, Next]) -> dict[Hashable, MemoryState]:
        """Enters a segment of each of these sessions and moves all others one layer on; returns finished memories.

        ValueError: no lane is free, a first segment has no memory, or the session's last memory is not yet returned.
        """
        lanes = self._lanes.copy()
        arrivals: list[Arrival | None] = [None] * len(lanes)
        for key, segment in offered.items():
            lane = self._lane_for(key, segment, lanes)
            lanes[lane] = key
            arrivals[lane] = Arrival(segment.segment, segment.memory, segment.skipped, segment.last, key)
        # The state changes only after the step, so that a failed step changes nothing.
        self._flow, departures = self._wavefront.step(self._flow, arrivals)
        ended = {key for key, segment in offered.items() if segment.last}
        self._lanes = [None if key in ended else key for key in lanes]
        out = {departure.label: departure.memory for departure in departures if departure.memory is not None}
        self._leaving = (self._leaving | ended) - out.keys()
        return out

    def _lane_for(self, key: Hashable, segment: Next, lanes: Sequence[Hashable | None]) -> int:
        if key in self._leaving:
            raise ValueError(f"the memory of {key!r} is not finished yet: wait for it before its next segment")
        if (key in lanes) == (segment.memory is not None):
            raise ValueError(f"the first segment of {key!r}, and only the first, must bring its memory")
        if key not in lanes and None not in lanes:
            raise ValueError(f"no lane is free for {key!r}: wait until a session has ended")
        return lanes.index(key if key in lanes else None)


def read_windows(wavefront: Wavefront, texts: Sequence[tuple[Tensor, MemoryState]]) -> list[MemoryState]:
    """The memory (one row) of each text after its windows (K, N): equal to `MemoryTransformer.read_windows`."""
    segment_tokens = wavefront.model.config.segment_tokens
    feeds = [_segments_of(windows, memory, segment_tokens) for windows, memory in texts]
    return _through(wavefront, feeds, [memory for _, memory in texts])


def _segments_of(windows: Tensor, memory: MemoryState, segment_tokens: int) -> Iterator[Next]:
    """Each window's segment; the window's context tokens become the end of a skipped segment before it."""
    before = windows.shape[1] - segment_tokens
    for index, window in enumerate(windows):
        skipped = pad(window[:before], (segment_tokens - before, 0))[None] if before else None
        yield Next(window[before:], None if index else memory, skipped, last=index == len(windows) - 1)


def _through(
    wavefront: Wavefront, feeds: Sequence[Iterator[Next]], befores: Sequence[MemoryState]
) -> list[MemoryState]:
    """When a text ends, the next one takes its lane, so that the pipeline fills only once."""
    pipeline = Pipeline(wavefront)
    memories: dict[Hashable, MemoryState] = dict(enumerate(befores))
    waiting = deque(enumerate(feeds))
    reading: dict[Hashable, Iterator[Next]] = {}
    while waiting or reading or pipeline.inside:
        while waiting and len(reading) < wavefront.lanes:
            reading.update([waiting.popleft()])
        offered = {key: segment for key, feed in reading.items() if (segment := next(feed, None)) is not None}
        reading = {key: reading[key] for key, segment in offered.items() if not segment.last}
        if offered or pipeline.inside:
            memories.update(pipeline.step(offered))
    return [memories[key] for key in range(len(feeds))]
