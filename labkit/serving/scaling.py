"""How many workers: more when requests wait too long, fewer when nothing waits; with hysteresis, step by step."""
from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from labkit.errors import BadRequest


@dataclass(frozen=True)
class Step:
    """workers: how many from now on. why: with the figure that decided."""

    workers: int
    why: str


class Scaler:
    """One more when the delay was above `high_s` for `up_after_s`; one less when below `low_s` for `down_after_s`.

    least, most: bounds of the workers. clock: seconds that never jump. Going down takes longer than going up: a
    worker too many costs memory, one too few costs everybody's time.
    """

    def __init__(self, least: int = 1, most: int = 4, *, high_s: float = 1.0, low_s: float = 0.1,
                 up_after_s: float = 2.0, down_after_s: float = 30.0, clock: Callable[[], float] = time.monotonic):
        if not 0 < least <= most or not 0 <= low_s < high_s:
            raise BadRequest(f"least={least}, most={most}, low_s={low_s}, high_s={high_s}: least is 1 or more and not "
                             "above most; low_s is below high_s.")
        self.least, self.most, self.high_s, self.low_s = least, most, high_s, low_s
        self._after = {1: up_after_s, -1: down_after_s}
        self._clock, self._leaning, self._since = clock, 0, 0.0

    def look(self, delay_s: float, workers: int) -> Step:
        """Tell how long requests wait now, and how many workers there are; hear how many there should be."""
        now, leaning = self._clock(), (delay_s > self.high_s) - (delay_s < self.low_s)
        if leaning != self._leaning:
            self._leaning, self._since = leaning, now
        wanted, lasted = workers + leaning, now - self._since
        bounded = min(max(wanted, self.least), self.most)
        if not leaning or lasted < self._after[leaning] or bounded == workers:
            return Step(min(max(workers, self.least), self.most), f"requests wait {delay_s:.2f} s: as it is")
        self._since = now  # the next step is judged anew
        bound = f"above {self.high_s:g}" if leaning > 0 else f"below {self.low_s:g}"
        return Step(bounded, f"requests waited {delay_s:.2f} s, {bound} s for {lasted:.0f} s")
