"""The file of an adapter: found, and judged by what it says of itself, without a runtime."""
from __future__ import annotations

import json
from pathlib import Path

from labkit.data import data_folder
from labkit.errors import ModelFileError
from labkit.models.embedded import NAME
from labkit.models.gguf_file import texts

COURSE = "course"  # in place of a file: the course's own
TOOLS = "labkit.tools"  # in the header: the tools it was trained on, as JSON


def course() -> Path:
    """Where the course's own is. Raises LabkitError where the course's data are not at hand."""
    return data_folder("adapters") / "tool_calls.gguf"


def find(adapter: str | Path) -> Path:
    """The file that is meant, whole path. Raises ModelFileError for one that is no adapter or for another model."""
    path = course() if adapter == COURSE else Path(adapter)
    check(path, NAME)
    return path.resolve()


def check(path: Path, model: str) -> None:
    """Raises ModelFileError for what is no adapter, or one for another model. model: by the name that is shown."""
    about = said(path)
    if about.get("general.type") != "adapter":
        raise ModelFileError(f"{path.name} is a model, not an adapter. Make one with: labkit specialise")
    if (base := about.get("labkit.base", "")) != model.split()[0]:
        raise ModelFileError(f"{path.name} was trained on {base or 'an unknown model'}, and this is {model}. "
                             "Train one for it: labkit specialise")


def check_format(path: Path, format: str) -> None:
    """Raises ModelFileError for an adapter that was trained on prompts of another form."""
    if (other := said(path).get("labkit.format", "")) != format:
        raise ModelFileError(f"{path.name} was trained on prompts of the form {other or 'unknown'}, and this labkit "
                             f"writes {format}. Train it again: labkit specialise")


def trained_on(path: Path) -> dict[str, str]:
    """The tools that an adapter was trained on, by name, as labkit.tools.trained.fingerprints gives them."""
    try:
        return dict(json.loads(said(path).get(TOOLS, "{}")))
    except (ValueError, TypeError) as error:
        raise ModelFileError(f"{path.name} does not say which tools it knows: {error}.") from error


def said(path: Path) -> dict[str, str]:
    """What a GGUF says of itself in words, by key. Raises ModelFileError where there is none."""
    try:
        return texts(path)
    except FileNotFoundError:
        raise ModelFileError(f"There is no adapter {path}. Name a .gguf file, or adapter=None for none.") from None
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path.name} could not be loaded as an adapter: {error}.") from error
