"""Sessions in the lanes of a wavefront: whose segment enters where, and which memory comes out for whom.

It knows sessions by a key and segments in order, and nothing of queues, fairness, stores or threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import pad

from model.mechanisms.base import MemoryTransformer
from model.memory import MemoryState
from model.runtime.wavefront.wavefront import Arrival, Wavefront


@dataclass(frozen=True, eq=False)
class Next:
    """A session's next selected segment (T), and the last of the skipped ones (1, T) that were left out before it.

    Its first one brings the memory. Behind its `last` one the lane is free for another session.
    """

    segment: Tensor
    memory: MemoryState | None = None
    skipped: Tensor | None = None
    last: bool = False


class Pipeline:
    """Each session keeps a lane from its first segment to its last; between two of them any number of steps may pass.

    The memory comes out L - 1 steps after the last segment went in. One that was turned back is not lost: memories
    are values, and whoever offered it still has the one before.
    """

    def __init__(self, wavefront: Wavefront) -> None:
        self._wavefront = wavefront
        self._flow = wavefront.begin()
        self._lanes: list[Hashable | None] = [None] * wavefront.lanes
        self._leaving: set[Hashable] = set()

    @property
    def free(self) -> int:
        """How many sessions may begin at the next step."""
        return self._lanes.count(None)

    @property
    def inside(self) -> set[Hashable]:
        """The sessions that keep a lane, or whose memory has not come out yet."""
        return self._leaving.union(key for key in self._lanes if key is not None)

    def step(self, offered: Mapping[Hashable, Next]) -> dict[Hashable, MemoryState]:
        """Takes a segment of each of these sessions in, and all others one layer on: the memories that come out."""
        lanes = self._lanes.copy()
        arrivals: list[Arrival | None] = [None] * len(lanes)
        for key, segment in offered.items():
            lane = self._lane_for(key, segment, lanes)
            lanes[lane] = key
            arrivals[lane] = Arrival(segment.segment, segment.memory, segment.skipped, segment.last, key)
        # Only now: a step that fails leaves everything as it was.
        self._flow, departures = self._wavefront.step(self._flow, arrivals)
        ended = {key for key, segment in offered.items() if segment.last}
        self._lanes = [None if key in ended else key for key in lanes]
        out = {departure.label: departure.memory for departure in departures if departure.memory is not None}
        self._leaving = (self._leaving | ended) - out.keys()
        return out

    def drop(self, key: Hashable) -> None:
        """Frees the lane of a session that goes on no more; what it has on its way comes out nowhere."""
        self._lanes = [None if kept == key else kept for kept in self._lanes]

    def _lane_for(self, key: Hashable, segment: Next, lanes: Sequence[Hashable | None]) -> int:
        if key in self._leaving:
            raise ValueError(f"the memory of {key!r} has not come out yet: wait for it before its next segment")
        if (key in lanes) == (segment.memory is not None):
            raise ValueError(f"the first segment of {key!r}, and no other, must bring its memory")
        if key not in lanes and None not in lanes:
            raise ValueError(f"no lane is free for {key!r}: wait until a session has ended")
        return lanes.index(key if key in lanes else None)


def read_texts(wavefront: Wavefront, texts: Sequence[tuple[Tensor, MemoryState]]) -> list[MemoryState]:
    """The memory (of one row) of each text after its segments (S, T): the same as `skimming.read_all` of each."""
    model = wavefront.model
    memories = _through(wavefront, [selected_segments(model, *text) for text in texts], [memory for _, memory in texts])
    return [
        model.skip(segments[-1:], memory) if len(segments) else memory
        for (segments, _), memory in zip(texts, memories, strict=True)
    ]


def read_windows(wavefront: Wavefront, texts: Sequence[tuple[Tensor, MemoryState]]) -> list[MemoryState]:
    """The memory (of one row) of each text after its windows (K, N): the same as the model's own `read_windows`."""
    segment_tokens = wavefront.model.config.segment_tokens
    feeds = [_segments_of(windows, memory, segment_tokens) for windows, memory in texts]
    return _through(wavefront, feeds, [memory for _, memory in texts])


def selected_segments(model: MemoryTransformer, segments: Tensor, memory: MemoryState) -> Iterator[Next]:
    """Those of the segments (S, T) that may change what is remembered, behind a memory of one row."""
    selected = model.select_segments(segments, memory) if len(segments) else []
    done = 0
    for index in selected:
        skipped = segments[index - 1 : index] if index > done else None
        yield Next(segments[index], memory if index == selected[0] else None, skipped, last=index == selected[-1])
        done = index + 1


def _segments_of(windows: Tensor, memory: MemoryState, segment_tokens: int) -> Iterator[Next]:
    """Each window's segment, behind the end of a segment that has what else is seen in the window."""
    before = windows.shape[1] - segment_tokens
    for index, window in enumerate(windows):
        skipped = pad(window[:before], (segment_tokens - before, 0))[None] if before else None
        yield Next(window[before:], None if index else memory, skipped, last=index == len(windows) - 1)


def _through(
    wavefront: Wavefront, feeds: Sequence[Iterator[Next]], befores: Sequence[MemoryState]
) -> list[MemoryState]:
    """When a text is through, the next one takes its lane, so that the pipeline fills once for all of them."""
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
