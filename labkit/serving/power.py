"""Save power on battery: whether to, decided with hysteresis."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from labkit.errors import BadRequest


class PowerMode:
    """Save power when on battery below `below` %, until mains, or above `above` %.

    figures: gives battery_percent and plugged, as labkit.profiling.sensors reads them. A machine without a battery,
    or one that does not tell, never saves.
    """

    def __init__(self, figures: Callable[[], Mapping[str, float]], below: float = 40.0, above: float = 60.0):
        if not 0 <= below <= above <= 100:
            raise BadRequest(f"below={below}, above={above}: percent, below not above `above`.")
        self._figures, self.below, self.above = figures, below, above
        self._saving, self.why = False, "not looked yet"

    def saving(self) -> bool:
        """Whether to save now; `why` says it in words."""
        now = self._figures()
        percent, plugged = now.get("battery_percent"), now.get("plugged")
        if percent is None or plugged:
            self._saving, self.why = False, "no battery" if percent is None else "on mains"
        else:
            self._saving = percent < (self.above if self._saving else self.below)
            self.why = f"on battery with {percent:.0f} %"
        return self._saving
