"""The configuration as JSON Schema: for editors, and for naming the keys that a place knows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from edged.config.models import Config
from edged.strict_yaml import KeyPath

Schema = dict[str, Any]
_NOISE = ("title", "discriminator")


def make_schema() -> Schema:
    """JSON Schema (2020-12) of a configuration file."""
    schema = _without_noise(Config.model_json_schema(mode="validation"))
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "edged configuration", **schema}


def encode_schema() -> str:
    """The schema as the text that is shipped."""
    return json.dumps(make_schema(), indent=2, ensure_ascii=False) + "\n"


def known_keys(schema: Schema, path: KeyPath) -> list[str]:
    """The keys that the section at a path knows; empty where names are free or the path leads nowhere."""
    return sorted({name for node in _nodes_at(schema, path) for name in node.get("properties", {})})


def describe(schema: Schema, path: KeyPath) -> str:
    """What the key at a path means, in the words of its description."""
    section, name = path[:-1], path[-1]
    found = (node["properties"][name] for node in _nodes_at(schema, section) if name in node.get("properties", {}))
    return next((node["description"] for node in found if "description" in node), "")


def _nodes_at(schema: Schema, path: KeyPath) -> list[Schema]:
    """Every schema that may hold at a path. A step may also name the `type` of a section that has several."""
    nodes = list(_alternatives(schema, schema))
    for step in path:
        typed = [node for node in nodes if node.get("properties", {}).get("type", {}).get("const") == step]
        nodes = typed or [inner for node in nodes for child in _children(node, step) for inner in _alternatives(schema, child)]
    return nodes


def _children(node: Schema, step: str | int) -> list[Schema]:
    if isinstance(step, int):
        return [node["items"]] if isinstance(node.get("items"), dict) else []
    if step in node.get("properties", {}):
        return [node["properties"][step]]
    free = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    return [child for child in free if isinstance(child, dict)]


def _alternatives(schema: Schema, node: Schema) -> Iterator[Schema]:
    """A schema and all that it refers to or chooses from."""
    if "$ref" in node:
        yield from _alternatives(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
        return
    yield node
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        yield from _alternatives(schema, choice)


def _without_noise(node: Any, *, is_properties: bool = False) -> Any:
    """Without generated titles, and without defaults that only say that a key may be left out."""
    if isinstance(node, list):
        return [_without_noise(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_noise(value, is_properties=name == "properties")
        for name, value in node.items()
        if is_properties or not (name in _NOISE or (name == "default" and value is None))
    }
