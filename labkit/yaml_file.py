"""A YAML file checked by a pydantic model; what is wrong is told with its line and field."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from labkit.errors import BadRequest

Model = TypeVar("Model")


def read(path: str | Path, model: type[Model]) -> Model:
    """The file as an instance of `model`. Raises BadRequest: "desk.yaml, line 7, limits.max_steps: …"."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{path.name} cannot be read: {error}") from error
    return parse(text, model, path.name)


def parse(text: str, model: type[Model], name: str = "the YAML") -> Model:
    """As read(), from a text."""
    import yaml
    from pydantic import ValidationError
    try:
        value, tree = yaml.safe_load(text), yaml.compose(text, yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none
        raise BadRequest(f"{name}{_place(error)}: this is no YAML: {_problem(error)}") from error
    if not isinstance(value, dict):
        raise BadRequest(f"{name}: it must hold names and values, like `name: my agent`.")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        told = [f"{name}, line {_line(tree, e['loc'])}, {_field(e['loc'])}: {e['msg']}" for e in error.errors()]
        raise BadRequest("\n".join(told)) from error


def dump(value: Any) -> str:
    """A pydantic instance as YAML, in the order of its fields, without what is None."""
    import yaml
    return yaml.safe_dump(value.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True,
                          width=100)


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark else ""


def _problem(error: Exception) -> str:
    return getattr(error, "problem", None) or str(error) or type(error).__name__


def _field(place: Sequence[Any]) -> str:
    return ".".join(map(str, place)) or "the whole"


def _line(tree: Any, place: Sequence[Any]) -> int:
    """The line, from 1, of the deepest part of `place` that is in the file."""
    line = tree.start_mark.line
    for step in place:
        inner = _inner(tree, step)
        if inner is None:
            break
        line, tree = inner
    return line + 1


def _inner(tree: Any, step: Any) -> tuple[int, Any] | None:
    """(line, node) of a key or an index in a YAML node."""
    import yaml
    if isinstance(tree, yaml.MappingNode):
        return next(((key.start_mark.line, value) for key, value in tree.value if key.value == str(step)), None)
    if isinstance(tree, yaml.SequenceNode) and isinstance(step, int) and step < len(tree.value):
        return tree.value[step].start_mark.line, tree.value[step]
    return None
