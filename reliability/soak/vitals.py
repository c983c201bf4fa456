"""Resident memory and open descriptors of processes over time, and whether they grow after the warm-up."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Event

from server.store.open import CONNECTIONS

SAMPLE_SECONDS = 0.2
# With fewer, which is six seconds, a process is still warming up.
SAMPLES_MIN = 30
GROWN_BYTES = 16 << 20
# The connection pools of the store grow and shrink by so many.
GROWN_DESCRIPTORS = 2 * CONNECTIONS
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Sample:
    resident_bytes: int
    descriptors: int


def sample(pid: int) -> Sample:
    """The process now; OSError where it has ended."""
    process = Path("/proc", str(pid))
    pages = int((process / "statm").read_text().split()[1])
    return Sample(pages * _PAGE_BYTES, len(os.listdir(process / "fd")))


def growth(samples: Sequence[Sample]) -> tuple[int, int]:
    """By how much the median grew from the second third of the samples to the last: bytes, descriptors."""
    third = len(samples) // 3
    middle, end = samples[third : 2 * third], samples[2 * third :]
    return (
        int(median(each.resident_bytes for each in end) - median(each.resident_bytes for each in middle)),
        int(median(each.descriptors for each in end) - median(each.descriptors for each in middle)),
    )


class Vitals:
    """Samples the processes while `watching`; a restarted process counts as a new one."""

    def __init__(self, processes: Callable[[], Mapping[str, int]]) -> None:
        self._processes = processes
        self.lives: dict[tuple[str, int], list[Sample]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        over = Event()
        with ThreadPoolExecutor(1) as threads:
            watch = threads.submit(self._watch, over)
            try:
                yield
            finally:
                over.set()
            watch.result()

    def _watch(self, over: Event) -> None:
        while not over.wait(SAMPLE_SECONDS):
            for name, pid in self._processes().items():
                # It may have been killed meanwhile: then it is missing, or a zombie without memory.
                with suppress(OSError):
                    if (now := sample(pid)).resident_bytes:
                        self.lives.setdefault((name, pid), []).append(now)

    def judged(self) -> dict[tuple[str, int], list[Sample]]:
        return {life: samples for life, samples in self.lives.items() if len(samples) >= SAMPLES_MIN}

    def grown(self) -> Iterator[str]:
        """What grew, in words, in each process with enough samples."""
        for (name, _), samples in self.judged().items():
            grown_bytes, grown_descriptors = growth(samples)
            lived = f"{name}, {len(samples)} samples"
            if grown_bytes > GROWN_BYTES:
                yield f"{lived}: memory grew by {grown_bytes >> 20} MiB from its second third to its last"
            if grown_descriptors > GROWN_DESCRIPTORS:
                yield f"{lived}: {grown_descriptors} descriptors more in its last third than in its second"
