"""References in a tool's schema: they must stay inside of it, since a validator opens what it finds there."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from labkit.errors import BadRequest

_REFERENCES = ("$ref", "$dynamicRef")


def check_references(name: str, schema: Mapping[str, Any]) -> None:
    """Raises BadRequest for a reference that leads out of the schema, or nowhere in it.

    A validator fetches an address that it finds there: whoever sends a tool would have us open pages of his choice.
    """
    if not (found := list(_references(schema))):
        return
    from referencing import Registry
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012
    resolver = Registry().resolver_with_root(DRAFT202012.create_resource(dict(schema)))
    for reference in found:
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise BadRequest(f"Tool {name!r} has a schema that refers to {reference!r}, outside of itself.")
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise BadRequest(f"Tool {name!r} has a schema that refers to {reference!r}, which is not in it.") from error


def _references(part: Any) -> Iterator[Any]:
    if isinstance(part, Mapping):
        yield from (part[key] for key in _REFERENCES if key in part)
    for inner in part.values() if isinstance(part, Mapping) else part if isinstance(part, list) else ():
        yield from _references(inner)
