"""How a widget shows itself where widgets do not render: GitHub, nbviewer, a terminal."""
from __future__ import annotations

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


def html_widget(value: str = "", **kwargs: Any) -> ipywidgets.HTML:
    """An HTML widget without ipywidgets' own margins."""
    return ipywidgets.HTML(value, layout={"margin": "0", "flex": "0 0 auto", **kwargs})
