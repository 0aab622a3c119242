"""Find a backend by name and connect to it."""
from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from inspect import signature

from labkit.backends.base import Backend
from labkit.errors import BackendUnavailable, BadRequest

DEFAULT = "llama.cpp"


@dataclass(frozen=True)
class Listed:
    """One known backend. `why_not` is None where it is usable, else what would make it so."""

    name: str
    why_not: str | None

    @property
    def usable(self) -> bool:
        return self.why_not is None


class Backends(list):
    """The known backends, shown as a table."""

    def rows(self) -> list[tuple[str, str, str]]:
        return [(b.name, "yes" if b.usable else "no", b.why_not or "") for b in self]

    def __repr__(self) -> str:
        return "\n".join(f"{name:14} {usable:4} {why}".rstrip() for name, usable, why in self.rows())

    def _repr_markdown_(self) -> str:
        lines = ["| backend | usable here | what would make it so |", "|---|---|---|"]
        return "\n".join(lines + [f"| {n} | {u} | {w} |" for n, u, w in self.rows()])


def connect(backend: str = DEFAULT, model: str | None = None, **settings):
    """A model to talk to.

    backend: a runtime by name; `labkit.backends()` lists them. The default runs in this process,
        offline, with the embedded SmolLM2-135M-Instruct.
    model: a file or id as the runtime names it; None for its default.
    settings: passed to the backend, e.g. context_length, threads (llama.cpp).

    Raises BackendUnavailable with what would help, BadRequest for an unknown setting, or ModelFileError.
    """
    from labkit.backends.chat import Chat
    kind = backend_class(backend)
    if missing := kind.missing():
        raise BackendUnavailable(f"{backend}: {missing}")
    known = signature(kind).parameters
    if unknown := sorted(settings.keys() - known.keys()):
        names = ", ".join(name for name in known if name != "model")
        raise BadRequest(f"{backend} has no setting {unknown[0]!r}. Use: {names}.")
    return Chat(kind(model, **settings))


def list_backends() -> Backends:
    """Every installed backend, usable or not, in the order of their names."""
    return Backends(Listed(name, _why_not(entry, name)) for name, entry in sorted(_known().items()))


def _why_not(entry: EntryPoint, name: str) -> str | None:
    try:
        return _load(entry, name).why_not()
    except Exception as error:  # a plug-in of someone else's must not take the list down
        return f"cannot be loaded: {type(error).__name__}: {error}"


def backend_class(name: str) -> type[Backend]:
    """The class of a backend. Raises BackendUnavailable for a name that is not known."""
    return _load(_known().get(name), name)


def _known() -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group="labkit.backends")}


def _load(entry: EntryPoint | None, name: str) -> type[Backend]:
    if entry is None:
        known = sorted(_known())
        close = get_close_matches(str(name), known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise BackendUnavailable(f"There is no backend {name!r}.{hint} Known: {', '.join(known)}.")
    return entry.load()
