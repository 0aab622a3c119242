"""How the course's figures look, and how they are told to someone who does not see them."""
from __future__ import annotations

import io
from html import escape

HATCHES = ("", "///", "...", "xxx", "---", "\\\\\\", "+++", "ooo")  # for bars, which have no line style
# Dark to light, so that the order survives greyscale; line style and marker tell them apart again.
_SERIES = (("#111111", "-", "o"), ("#0b5394", "--", "s"), ("#c2410c", "-.", "^"), ("#5b9e4d", ":", "D"),
           ("#b58900", (0, (5, 1, 1, 1, 1, 1)), "v"), ("#9a9a9a", (0, (1, 1)), "x"))


def plot_style() -> None:
    """Small figures (6.5 × 3.2 inches at 100 dpi) that read in greyscale. Call it once a notebook."""
    import matplotlib as mpl
    from cycler import cycler
    colours, styles, markers = zip(*_SERIES, strict=True)
    mpl.rcParams.update({
        "figure.figsize": (6.5, 3.2), "figure.dpi": 100, "savefig.dpi": 100,
        "figure.constrained_layout.use": True,
        "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "legend.frameon": False,
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "axes.axisbelow": True,
        "grid.color": "#dddddd", "grid.linewidth": 0.6, "lines.markersize": 4, "lines.linewidth": 1.4,
        "axes.prop_cycle": cycler(color=colours) + cycler(linestyle=styles) + cycler(marker=markers),
    })


def alt(figure, text: str) -> None:
    """Show `figure` with `text`: one or two sentences that say what it shows.

    JupyterLab 4 puts no alternative text on image outputs, so the words also stand below the picture, where
    every reader and every renderer has them; VS Code and nbconvert take them from the image's own data.
    """
    png = to_png(figure)
    from matplotlib import pyplot as plt
    plt.close(figure)  # else the notebook would show it a second time
    from labkit.course.card import in_notebook
    if not in_notebook():
        print(f"Figure: {text}")
        return
    from IPython.display import display
    words = {"text/plain": f"Figure: {text}"}
    display({"image/png": png, **words}, raw=True, metadata={"image/png": {"alt": text}})
    display({"text/html": f"<p><em>Figure: {escape(text)}</em></p>", **words}, raw=True)


def to_png(figure) -> bytes:
    """The figure as a small PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor="white")
    return shrink_png(buffer.getvalue())


def shrink_png(png: bytes) -> bytes:
    """The same picture in at most 64 colours: a third of the size, and plots look no different."""
    from PIL import Image
    image = Image.open(io.BytesIO(png))
    if image.mode == "P":
        return png  # done before
    flat = Image.new("RGB", image.size, "white")
    flat.paste(image, mask=image.getchannel("A") if image.mode == "RGBA" else None)
    buffer = io.BytesIO()
    flat.quantize(64).save(buffer, format="png", optimize=True)
    return min(buffer.getvalue(), png, key=len)
