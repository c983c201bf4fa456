"""The compose files merged as Compose does it, with `extends` resolved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.charts import DEPLOY

ONE = DEPLOY / "compose.yaml"
REPLICAS = DEPLOY / "compose.replicas.yaml"
Service = dict[str, Any]


class Reset(list[Any]):
    """A value that replaces the lower file's value instead of being merged with it."""


class Loader(yaml.SafeLoader):
    """A YAML loader for Compose's tags !reset and !override."""


def _replacing(loader: Loader, node: yaml.Node) -> Reset:
    if isinstance(node, yaml.MappingNode):
        return Reset([loader.construct_mapping(node, deep=True)])
    assert isinstance(node, yaml.SequenceNode)
    return Reset([loader.construct_sequence(node, deep=True)])


for _tag in ("!reset", "!override"):
    Loader.add_constructor(_tag, _replacing)


def load(path: Path) -> dict[str, Any]:
    return dict(yaml.load(path.read_text(), Loader))


def joined(below: Any, above: Any) -> Any:
    if isinstance(above, Reset):
        return above[0]
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {name: joined(below.get(name), value) for name, value in above.items()}
    if isinstance(below, list) and isinstance(above, list):
        return below + above
    return above


def one() -> dict[str, Service]:
    return dict(load(ONE)["services"])


def replicas() -> dict[str, Service]:
    """The services of both files together."""
    result = one()
    for name, above in load(REPLICAS)["services"].items():
        service = copy.deepcopy(above)
        if extended := service.pop("extends", None):
            service = joined(load(DEPLOY / extended["file"])["services"][extended["service"]], service)
        result[name] = joined(result.get(name, {}), service)
    return result


def untagged(value: Any) -> Any:
    """The file's content with tagged values as plain ones, as the schema expects."""
    if isinstance(value, Reset):
        return untagged(value[0])
    if isinstance(value, dict):
        return {name: untagged(part) for name, part in value.items()}
    return [untagged(part) for part in value] if isinstance(value, list) else value
