"""How a widget shows itself where widgets do not render: GitHub, nbviewer, a terminal."""
from __future__ import annotations

import threading
from typing import Any

import ipywidgets


class ShownAnywhere:
    """Mixed into a widget that has `text()` and `html()`: both are stored next to its live view.

    A front end takes the richest form it can draw, so JupyterLab shows the widget and the others
    show the same content as it was when the cell ran.
    """

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        bundle = super()._repr_mimebundle_(**kwargs) or {}
        return {**bundle, "text/plain": self.text(), "text/html": self.html()}

    def __repr__(self) -> str:
        return self.text()


class StartedAndStopped:
    """Mixed into a widget that has `start()` and `stop()` and keeps `_watching`: `with` and close() stop it, too."""

    _watching = False  # also for one that refused its arguments: ipywidgets closes it as well

    @property
    def running(self) -> bool:
        """Whether it is at work."""
        return self._watching

    def __enter__(self):
        return self.start()

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def close(self) -> None:
        """Stop, and take the widget off the page."""
        self.stop()
        super().close()


class InBackground:
    """Mixed into a widget that has `_work()`: a click runs it in a thread, and a second one meanwhile does nothing."""

    _thread: threading.Thread | None = None

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name=f"labkit {type(self).__name__}", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when the work that a click began is done."""
        while (thread := self._thread) is not None and thread.is_alive():
            thread.join(0.1)  # in short steps, or Windows could not interrupt it


def html_widget(value: str = "", **kwargs: Any) -> ipywidgets.HTML:
    """An HTML widget without ipywidgets' own margins."""
    return ipywidgets.HTML(value, layout={"margin": "0", "flex": "0 0 auto", **kwargs})
