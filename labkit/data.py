"""Where the course's data folder is."""
from __future__ import annotations

import os
from pathlib import Path

from labkit.errors import LabkitError


def data_folder(name: str) -> Path:
    """The folder `name` of the course's data, e.g. "tool_requests".

    Looked for in LABKIT_DATA if that is set, and only there; else in `data` at or above the working
    folder, or beside the source. Raises LabkitError, with the places tried, when it is in none.
    """
    named, source = os.environ.get("LABKIT_DATA"), Path(__file__).resolve().parents[1]
    near = [Path(up, "data") for up in (".", "..", "../..", source)]
    roots = [Path(named).expanduser()] if named else near
    for root in roots:
        if (root / name).is_dir():
            return root / name
    looked = ", ".join(str(root.resolve()) for root in roots)
    raise LabkitError(f"No folder {name} in {looked}. Run from the course's folder, or set LABKIT_DATA "
                      "to its data folder.")
