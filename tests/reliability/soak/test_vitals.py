"""What counts as growth, in made-up samples, and the sample of a real process."""

from __future__ import annotations

import subprocess
import sys
from random import Random

import pytest

from reliability.soak.vitals import GROWN_BYTES, GROWN_DESCRIPTORS, SAMPLES_MIN, Sample, Vitals, growth, sample

LIFE = range(SAMPLES_MIN)
HELD_BYTES = 64 << 20


def grown(samples: list[Sample]) -> list[str]:
    vitals = Vitals(dict)
    vitals.lives["server", 1] = samples
    return list(vitals.grown())


def test_a_warm_up_is_not_growth() -> None:
    warm = [Sample(min(look, SAMPLES_MIN // 3) * GROWN_BYTES, min(look, SAMPLES_MIN // 3) * 10) for look in LIFE]
    assert growth(warm) == (0, 0)
    assert grown(warm) == []


def test_fluctuation_is_not_growth() -> None:
    dice = Random(1)
    assert grown([Sample(GROWN_BYTES * dice.randint(5, 6), 50 + dice.randint(0, 20)) for _ in range(3000)]) == []


@pytest.mark.parametrize("looks", [SAMPLES_MIN, 900])
def test_steady_growth_is_found(looks: int) -> None:
    a_look = 4 / looks
    found = grown(
        [Sample(int(look * a_look * GROWN_BYTES), int(look * a_look * GROWN_DESCRIPTORS)) for look in range(looks)]
    )
    assert [what.split(": ")[1].split()[0] for what in found] == ["memory", f"{GROWN_DESCRIPTORS * 4 // 3}"]


def test_a_process_with_too_few_samples_is_not_judged() -> None:
    assert grown([Sample(look * GROWN_BYTES, look * 100) for look in LIFE[1:]]) == []


def test_a_sample_has_the_memory_and_the_descriptors_of_the_process() -> None:
    # A process of its own: the tests' process may have freed memory that its allocator would give out again.
    holds = f"print(flush=True); input(); held, ways = b'?' * {HELD_BYTES}, os.pipe(); print(flush=True); input()"
    command = [sys.executable, "-c", f"import os; {holds}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        before = sample(process.pid)
        print(file=process.stdin, flush=True)
        process.stdout.readline()
        after = sample(process.pid)
        process.communicate("\n")
    assert process.returncode == 0
    assert after.resident_bytes >= before.resident_bytes + HELD_BYTES // 2
    assert after.descriptors == before.descriptors + 2
