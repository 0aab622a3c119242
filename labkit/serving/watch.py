"""The service under watch: every few seconds its figures and the machine's go into a history and before the alerts.

Durations are the monotonic clock's. A fault of the watching, a full disk or a sensor that fails, is told in
/health/why; it never stops the service.
"""
from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from labkit.profiling.sensors import Sensors
from labkit.serving.alert_rules import Entry, load
from labkit.serving.alerts import Alerts
from labkit.serving.generation import Service
from labkit.serving.history import History
from labkit.serving.sqlite_file import StoreUnavailable
from labkit.serving.window import Window

EVERY_S = 10.0
_log = logging.getLogger("labkit.serving.watch")


class Watch:
    """What looks at one service. history: None for one in memory, of the last hour. alerts: see alert_rules.

    every_s: seconds between two looks. clock: seconds that only go on. unkept: why the history is not where it should
    be. start() looks until close(); look() looks once.
    """

    def __init__(self, history: History | None = None, alerts: Sequence[Entry] = (), every_s: float = EVERY_S,
                 clock: Callable[[], float] = time.monotonic, unkept: str = ""):
        self.history, self._entries, self._every_s, self._clock = history or History(), alerts, every_s, clock
        self._sensors, self._unkept, self._trouble = Sensors(), unkept, ""
        self.missing: dict[str, str] = {}  # figures that this machine does not tell, and why
        self._stop, self._thread = threading.Event(), None

    def bind(self, service: Service) -> None:
        """Say which service it is. Alerts act on that one."""
        self._service, self._window = service, Window(self._clock())
        self.alerts = Alerts([entry.rule(service) for entry in self._entries])

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="labkit watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking, after a last look, and close the history."""
        self._stop.set()
        if self._thread:
            self._thread.join()
        self.history.close()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s):
            self.look()
        self.look()

    def look(self) -> None:
        """Measure, keep, and let the alerts act."""
        try:
            self._look()
            self._trouble = ""
        except Exception as error:  # whatever it is, the next look comes
            if not self._trouble:
                _log.exception("The watch could not look.")
            self._trouble = f"the watch could not look: {type(error).__name__}: {error}"

    def _look(self) -> None:
        at, readings, ended = self._clock(), self._sensors.read(), self._service.metrics.taken()
        self.missing = dict(readings.missing)
        figures = {**readings.figures, **self._window.figures(ended, self._service.admission, at)}
        events = self.alerts.look(figures, at)
        for event in events:
            _log.warning("Alert: %s", event)
        self.history.add(figures, ended, events)

    def reasons(self) -> list[str]:
        """Why not all is well: alerts that are on, and what is wrong with the watching."""
        aside = self.history.moved_aside
        on = [f"alert {rule.name!r}: {rule.figure} has been {'above' if rule.above else 'below'} {rule.limit:g}"
              for rule in self.alerts.on]
        damaged = [f"the history's file was damaged; it is now {aside.name}"] if aside else []
        return [*on, *damaged, *filter(None, (self._unkept, self.history.trouble, self._trouble))]


def watch_of_files(history: str | Path | None, alerts: str | Path | None) -> Watch:
    """A watch whose history and alerts are files. Where no file can be made the history is in memory, and the service
    says so. Raises BadRequest for alerts that are wrong."""
    entries, unkept = load(alerts) if alerts else (), ""
    try:
        kept = History(history) if history else History()
    except StoreUnavailable as error:
        kept, unkept = History(), f"the history is kept in memory only: {error}"
    return Watch(kept, entries, unkept=unkept)
