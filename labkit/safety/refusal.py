"""What a guard says when it does not let something happen."""
from __future__ import annotations

from labkit.errors import LabkitError

LAYERS = ("user", "role", "input", "taint", "approval", "audit", "repeat")


class Refused(LabkitError):
    """A guard did not let something happen. layer: which one (see LAYERS); tool: the call it stopped, or ""."""

    def __init__(self, layer: str, message: str, tool: str = ""):
        self.layer, self.tool = layer, tool
        super().__init__(message)
