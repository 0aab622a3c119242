"""Foundry Local's manager, its two catalogues, and models held in memory. Knows no messages.

The SDK allows one manager a process and keeps registrations on disk. The public catalogue is asked only
for a model of its own: without a network that costs its four retries, some seconds.
"""
from __future__ import annotations

import hashlib
import re
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from labkit.errors import BackendUnavailable, BadRequest, ModelFileError
from labkit.models.cache import home

OnProgress = Callable[[float], object]
_lock = threading.RLock()


def manager():
    """The process's FoundryLocalManager, made at the first call; one that the caller made is used as it is."""
    from foundry_local_sdk import Configuration, FoundryLocalManager
    with _lock:
        if FoundryLocalManager.instance is None:
            folder = home() / "foundry-local"
            folder.mkdir(parents=True, exist_ok=True)
            FoundryLocalManager.initialize(Configuration(
                app_name="labkit", app_data_dir=str(folder), disable_nonessential_telemetry=True))
        return FoundryLocalManager.instance


def registered(folder: Path):
    """A folder made for ONNX Runtime GenAI as a model of the local catalogue. Its files stay where they are."""
    from foundry_local_sdk import CatalogType, FoundryLocalException, ModelInfoBuilder
    folder = Path(folder).resolve()
    if not (folder / "genai_config.json").is_file():
        raise ModelFileError(f"{folder.name} has no genai_config.json. Give a folder made for ONNX Runtime GenAI, "
                             "an alias of Foundry Local's catalogue, or leave the model out.")
    catalogue, model_id = manager().get_catalog(CatalogType.LOCAL), local_id(folder)
    if known := catalogue.get_model_variant(model_id):
        return known
    with ModelInfoBuilder() as facts:
        facts.set_string_property("task", "chat-completion").set_string_property("display_name", folder.name)
        try:
            return catalogue.register_model(folder, model_id, facts)
        except FoundryLocalException:  # another process was faster
            if known := catalogue.get_model_variant(model_id):
                return known
            raise


def local_id(folder: Path) -> str:
    """Its name in the local catalogue. Two folders of one name are two models, so the path is in it."""
    name = re.sub(r"[^a-z0-9]+", "-", folder.name.split("-from-")[0].lower()).strip("-")
    return f"{name}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}:1"


def online(name: str, device: str | None = None, on_progress: OnProgress | None = None):
    """A model of the public catalogue by alias or id, downloaded if it is not here yet.

    device: "cpu", "gpu" or "npu" chooses the variant; None leaves it to Foundry Local, which lists only
    what this machine can run, best first. on_progress gets the per cent done.
    """
    catalogue = manager().catalog
    model = catalogue.get_model_variant(name) if ":" in name else catalogue.get_model(name)
    if model is None:
        aliases = sorted({model.alias for model in catalogue.list_models()})
        if not aliases:
            raise BackendUnavailable(f"Foundry Local's catalogue cannot be reached, so {name!r} is unknown. Connect to "
                                     "a network, or leave the model out: the embedded one runs offline.")
        raise BadRequest(f"Foundry Local's catalogue has no model {name!r}. It has: {', '.join(aliases)}.")
    if device:
        model.select_variant(variant_for(model.variants, device))
    if not model.is_cached:
        model.download(on_progress)
    return model


def variant_for(variants, device: str):
    """The first of a model's variants that is made for a device. Raises BadRequest with those there are."""
    kinds = [str(v.info.runtime.device_type or "").lower() if v.info.runtime else "" for v in variants]
    if device.lower() not in kinds:
        raise BadRequest(f"device={device!r}: this model has variants for {', '.join(sorted(set(kinds) - {''}))}.")
    return variants[kinds.index(device.lower())]


class Loaded:
    """A model in memory for as long as somebody holds this."""

    def __init__(self, model):
        self.model = model
        model.load()
        # Not at exit: the SDK's own hook closes the manager then, and with it every model.
        weakref.finalize(self, _unload, model).atexit = False


def _unload(model) -> None:
    from foundry_local_sdk import FoundryLocalException
    try:
        model.unload()
    except (FoundryLocalException, RuntimeError):  # the manager was closed meanwhile: nothing is left to unload
        pass


_loaded: weakref.WeakValueDictionary[str, Loaded] = weakref.WeakValueDictionary()


def loaded(model) -> Loaded:
    """The model in memory, shared by all connections to it."""
    with _lock:
        if not (found := _loaded.get(model.id)):
            found = _loaded[model.id] = Loaded(model)
        return found
