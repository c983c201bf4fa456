"""Fuzzing of sequences: sessions created, forked, asked and deleted, each request made from earlier responses."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import CHECKS

from server.app import build_app
from server.http import api_keys
from testing.serving import Server
from tests.server.http import test_fuzz_http

REQUESTS = int(os.environ.get("ONCEREAD_FUZZ_REQUESTS", "400"))
STEPS = 20
# What the other test of the interface adds to the tool holds here too: how a part of an upload is sent.
assert test_fuzz_http.CHECKS
# Of some rules, as that of two fields just one is given, a description cannot tell; and the key that is always sent
# makes good what was left out on purpose.
LEFT_OUT = {"positive_data_acceptance", "negative_data_rejection"}
EVERY_CHECK = CHECKS.get_by_names([name for name in CHECKS.get_all_names() if name not in LEFT_OUT])


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "api_keys.json"


@pytest.fixture(scope="module")
def token(keys_file: Path) -> str:
    with api_keys.changing(keys_file) as known:
        changed, _, token = known.with_new("acme", ("admin",), time.time(), None)
        api_keys.save(keys_file, changed)
    return token


@pytest.fixture(scope="module")
def server(
    tiny_weights: Path, keys_file: Path, token: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    store = f"sqlite:///{tmp_path_factory.mktemp('stateful')}/data"
    with Server(tiny_weights, store, keys_file=str(keys_file)) as server:
        yield server


def test_no_sequence_of_requests_causes_a_server_error(server: Server, token: str) -> None:
    described: Any = schemathesis.openapi.from_dict(build_app().openapi())
    counts: Counter[int] = Counter()

    class Interface(described.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            """Each row begins with no session: the same requests are answered alike, whatever row came before."""
            with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {token}"}) as http:
                while found := http.get("/v1/sessions").json()["data"]:
                    for session in found:
                        http.delete(f"/v1/sessions/{session['id']}")

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": server.url, "timeout": 60, "headers": {"Authorization": f"Bearer {token}"}}

        def validate_response(self, response: Any, case: Any, **kwargs: Any) -> None:
            counts[response.status_code] += 1
            case.validate_response(response, checks=EVERY_CHECK, transport_kwargs=self.get_call_kwargs(case))

    rows = settings(
        max_examples=3,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    # The tool expects the same of the same draws, and a server's own ids differ: where it notices, it ends the rows at
    # hand, and what they have asked so far has been checked.
    for number in range(REQUESTS // (3 * STEPS)):
        with suppress(FlakyStrategyDefinition):
            run_state_machine_as_test(seed(number)(Interface), settings=rows)
    print(f"{sum(counts.values())} requests: {dict(sorted(counts.items()))}")
    assert sum(counts.values()) > REQUESTS // 2
    assert not any(status >= 500 for status in counts)
    # Rows get somewhere: what was made is found again.
    assert {200, 201} <= set(counts)
