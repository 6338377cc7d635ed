"""The references in JSON Schemas and OpenAPI documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def target_name(target: str) -> str:
    """The name of the schema, or other component, that a reference has as its target."""
    return target.rpartition("/")[2]


def referenced_names(node: Any) -> Iterator[str]:
    """The names of what a node refers to, as often as it does."""
    if isinstance(node, list):
        for item in node:
            yield from referenced_names(item)
    elif isinstance(node, dict):
        if "$ref" in node:
            yield target_name(node["$ref"])
        for item in node.values():
            yield from referenced_names(item)


def map_references(node: Any, replace: Callable[[str], Mapping[str, Any]]) -> Any:
    """A copy of a node with other references.

    Args:
        node: the node.
        replace: returns what takes the place of a reference, by its target. What is beside the reference is kept.
    """
    if isinstance(node, list):
        return [map_references(item, replace) for item in node]
    if not isinstance(node, dict):
        return node
    copied = {name: map_references(item, replace) for name, item in node.items() if name != "$ref"}
    return {**replace(node["$ref"]), **copied} if "$ref" in node else copied
