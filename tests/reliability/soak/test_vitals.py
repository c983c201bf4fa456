"""What counts as growth, on lives that are made up, and that a process is seen as it is.

No server is started here.
"""

from __future__ import annotations

import os
from random import Random

import pytest

from reliability.soak.vitals import GROWN_BYTES, GROWN_DESCRIPTORS, SAMPLES_MIN, Sample, Vitals, growth, sample

LIFE = range(SAMPLES_MIN)


def grown(samples: list[Sample]) -> list[str]:
    vitals = Vitals(dict)
    vitals.lives["server", 1] = samples
    return list(vitals.grown())


def test_what_only_warms_up_does_not_grow() -> None:
    warm = [Sample(min(look, SAMPLES_MIN // 3) * GROWN_BYTES, min(look, SAMPLES_MIN // 3) * 10) for look in LIFE]
    assert growth(warm) == (0, 0)
    assert grown(warm) == []


def test_what_swings_does_not_grow() -> None:
    dice = Random(1)
    assert grown([Sample(GROWN_BYTES * dice.randint(5, 6), 50 + dice.randint(0, 20)) for _ in range(3000)]) == []


@pytest.mark.parametrize("looks", [SAMPLES_MIN, 900])
def test_what_grows_all_the_time_is_found(looks: int) -> None:
    a_look = 4 / looks
    found = grown(
        [Sample(int(look * a_look * GROWN_BYTES), int(look * a_look * GROWN_DESCRIPTORS)) for look in range(looks)]
    )
    assert [what.split(": ")[1].split()[0] for what in found] == ["memory", f"{GROWN_DESCRIPTORS * 4 // 3}"]


def test_a_life_that_is_too_short_is_not_judged() -> None:
    assert grown([Sample(look * GROWN_BYTES, look * 100) for look in LIFE[1:]]) == []


def test_a_process_is_seen_with_what_it_holds() -> None:
    before = sample(os.getpid())
    held, ways = bytearray(b"?" * (32 << 20)), os.pipe()
    after = sample(os.getpid())
    for way in ways:
        os.close(way)
    assert after.resident_bytes >= before.resident_bytes + len(held) // 2
    assert after.descriptors == before.descriptors + len(ways)
