"""The built image: its contents, its isolation, and that no acknowledged text is lost however it is stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import httpx
import pytest

from server import VERSION
from testing.models import prose
from testing.replies import appended, asked, created, offsets
from testing.serving import Server
from tests.deploy.real.containers import STRICT, Container
from tests.deploy.real.engine import podman
from tests.test_readme import ADDRESS, book, commands, run

pytestmark = pytest.mark.deploy

TEXT = (prose(71, 60_000) + " Mary went to the kitchen. " + prose(72, 60_000)).encode()
PIECE = 4096
MEBIBYTE = 1 << 20


def config(image: str) -> dict[str, object]:
    [found] = json.loads(podman("image", "inspect", image))
    return dict(found)


def test_the_configuration_of_the_image(image: str) -> None:
    found = config(image)
    settings = found["Config"]
    assert isinstance(settings, dict)
    assert settings["User"] == "10001:10001"
    assert settings["StopSignal"] == "SIGTERM"
    assert settings["Entrypoint"] == ["/opt/venv/bin/python", "-m", "server"]
    assert settings["Volumes"] == {"/data": {}}
    assert settings["ExposedPorts"] == {"8000/tcp": {}}
    assert settings["Labels"]["org.opencontainers.image.version"] == VERSION
    assert found["Healthcheck"]["Test"][0] == "CMD"  # type: ignore[index]
    size = int(str(found["Size"]))
    print(f"the image has {size / MEBIBYTE:,.0f} MiB")
    assert size < 1400 * MEBIBYTE


def test_the_container_is_unprivileged_and_can_write_only_to_data(image: str, volume: str) -> None:
    with Container(volume) as container:
        status = container.status()
        assert status["Uid"].split() == ["10001"] * 4
        assert status["Gid"].split() == ["10001"] * 4
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert status["NoNewPrivs"] == "1"
        for place in ("/", "/app", "/opt/venv", "/tmp", "/models"):
            said = container.python(
                f"try: open('{place}/x', 'w')\nexcept OSError as error: print(error.errno)\nelse: print('written')"
            )
            assert int(said) in (13, 30), place
        container.python("open('/data/x', 'w')")
        podman("healthcheck", "run", container.name)


def test_the_image_answers_without_configuration_and_contains_neither_training_nor_converters(image: str) -> None:
    """No volume, and no setting but the port."""
    with Container(None) as container:
        assert httpx.get(f"{container.url}/version").json()["model"] == "smollm2"
        for path in ("/", "/console/main.js", "/docs", "/docs/swagger-ui-bundle.js"):
            assert httpx.get(f"{container.url}{path}").status_code == 200, path
        assert container.python("import os; print(os.path.exists('/app/model/training'))").strip() == "False"
        assert container.python("from importlib.util import find_spec; print(find_spec('gguf'))").strip() == "None"
        with container.client() as http:
            session = created(http)
            appended(http, session, b"The harbour lay quiet. The captain had left his blue coat at the inn.")
            assert "blue" in asked(http, session, question="What colour was the captain's coat?")["answer"]


def test_the_quickstart_of_the_readme_works_in_a_container(image: str, volume: str, tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(book())
    _, create_and_read, ask, _ = commands("Sixty seconds")
    with Container(volume, precision="float32") as container:
        run(create_and_read, cast(Server, container), tmp_path)
        before = json.loads(run(ask, cast(Server, container), tmp_path))
        assert "Lower Cobb" in before["sources"][0]["text"]
    with Container(volume, precision="float32") as container:
        after = json.loads(run(ask, cast(Server, container), tmp_path))
        assert (after["answer"], after["sources"]) == (before["answer"], before["sources"])
    assert ADDRESS.endswith(":8000")


def test_sigterm_drains_in_time_and_loses_nothing(image: str, volume: str) -> None:
    with Container(volume) as container, container.client() as http:
        session = created(http)
        http.post(f"/v1/sessions/{session}/text", content=TEXT).raise_for_status()
        accepted, _ = offsets(http, session)
        assert accepted == len(TEXT)
        # The chart's grace period; a SIGKILL would give 137.
        assert container.stop(60) == 0
        assert "drained: every session is checkpointed" in container.log
    must_be_whole(volume, session, len(TEXT))


def test_sigkill_loses_nothing(image: str, volume: str) -> None:
    acknowledged = 0
    with Container(volume) as container, container.client() as http:
        session = created(http)
        while acknowledged < len(TEXT) // 2:
            piece = TEXT[acknowledged : acknowledged + PIECE]
            headers = {"Upload-Offset": str(acknowledged)}
            reply = http.post(f"/v1/sessions/{session}/text", content=piece, headers=headers)
            acknowledged = reply.raise_for_status().json()["accepted_bytes"]
        container.kill()
        assert container.inspected["State"]["ExitCode"] == 137
    must_be_whole(volume, session, acknowledged)


def must_be_whole(volume: str, session: str, accepted: int) -> None:
    """In a new container the session has all acknowledged text, and answers like one that was never interrupted."""
    with Container(volume) as container, container.client() as http:
        assert offsets(http, session)[0] == accepted
        undisturbed = created(http)
        appended(http, undisturbed, TEXT[:accepted])
        question = {"question": "Where is Mary?"}
        mine, other = asked(http, session, **question), asked(http, undisturbed, **question)
        assert mine["memory"]["offset"] == accepted
        assert (mine["answer"], mine["usage"]) == (other["answer"], other["usage"])


def test_the_container_stays_within_its_memory_limit(image: str, volume: str) -> None:
    limit = ("--memory", "2g", "--memory-swap", "2g")
    with Container(volume, *limit) as container, container.client() as http:
        session = created(http)
        appended(http, session, TEXT * 20)
        asked(http, session)
        found = container.inspected
        assert found["HostConfig"]["Memory"] == 2 << 30
        assert not found["State"]["OOMKilled"]
        used = int(container.status()["VmHWM"].split()[0]) * 1024
        print(f"at most {used / MEBIBYTE:,.0f} MiB were used")
        assert used < 2 << 30


def test_a_container_beyond_its_memory_limit_is_killed(image: str, volume: str) -> None:
    """The control of the test above: with less memory than torch needs, the container is killed."""
    container = Container(volume, "--memory", "100m", "--memory-swap", "100m")
    with pytest.raises(AssertionError), container:
        pass


def test_the_other_commands_run_in_the_image(image: str, volume: str) -> None:
    said = podman("run", "--rm", "--volume", f"{volume}:/data", *STRICT, image, "doctor")
    assert "ok   sqlite opens" in said
