"""How figures look: one palette for all, and SVG that takes its colours from the page it is in.

Colours are those of Okabe and Ito (2008), which people with any common colour blindness tell apart.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER = "#fefefe"
INK = "#1b1b1f"
MUTED = "#6a6a72"
GRID = "#dcdce2"
BLUE = "#0072b2"
VERMILION = "#d55e00"
GREEN = "#009e73"
ORANGE = "#e69f00"
SKY = "#56b4e9"
PURPLE = "#cc79a7"

SERIES = (BLUE, ORANGE, GREEN, PURPLE, SKY)
"""Colours of models that stand beside each other, the model in question first."""

_VARIABLES = {
    PAPER: "paper",
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    BLUE: "blue",
    VERMILION: "vermilion",
    GREEN: "green",
    ORANGE: "orange",
    SKY: "sky",
    PURPLE: "purple",
}
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "mathtext.fontset": "dejavusans",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.labelcolor": INK,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.3,
    "svg.fonttype": "path",
    "svg.hashsalt": "hpc_mlsm",
}
MAX_POINTS = 1500
"""Points of a curve that a figure can show; of more, the highest and lowest of each column of pixels are drawn."""


@contextmanager
def drawing(**changes: Any) -> Iterator[None]:
    """Settings of matplotlib for figures drawn inside, whatever the user's own are; they are put back after."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        parameters: Any = matplotlib.rcParams  # typed by key in some releases
        parameters.update(_STYLE | changes)
        yield


def new_axes(width: float, height: float) -> "tuple[Figure, Axes]":
    """A figure of so many inches with one pair of axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def thinned(
    x: NDArray[Any], y: NDArray[np.floating], limit: int = MAX_POINTS
) -> tuple[NDArray[Any], NDArray[np.floating]]:
    """A curve with at most about ``limit`` points that looks the same: each bin keeps its highest and lowest point."""
    if len(x) <= limit:
        return x, y
    keep = {0, len(x) - 1}
    for rows in np.array_split(np.arange(len(x)), limit // 2):
        values = np.where(np.isfinite(y[rows]), y[rows], 0.0)
        keep |= {int(rows[values.argmin()]), int(rows[values.argmax()])}
    chosen = np.array(sorted(keep))
    return x[chosen], y[chosen]


def to_svg(figure: "Figure", name: str, label: str) -> Markup:
    """A figure as an element for a page: ids begin with ``name``, colours are the page's, ``label`` says what it is.

    The ids of the artists (``set_gid``) become classes.
    """
    stream = io.StringIO()
    figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', text)[0]
    text = text[text.index(">") + 1 :]
    text = _compact(text)
    text = re.sub(r'<g id="layer-(\d+)[^"]*">', r'<g class="layer-\1">', text)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace('xlink:href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var(--{variable},{colour})")
    opening = Markup('<svg role="img" aria-label="{}" viewBox="0 0 {} {}">').format(label, width, height)
    return opening + Markup(text)


def _compact(text: str) -> str:
    """The same drawing in about half the bytes: two decimals, one line a path, repeated styles named once."""
    text = re.sub(r'\b(d|x|y)="[^"]*"', lambda found: _short_numbers(found[0]), text)
    text = re.sub(r">\s+<", "><", text)
    use = r'<use xlink:href="[^"]*" x="[^"]*" y="[^"]*" '
    return re.sub(
        rf'{use}style="([^"]*)"/>(?:{use}style="\1"/>)+',
        lambda found: f'<g style="{found[1]}">{found[0]}</g>'.replace(f' style="{found[1]}"/>', "/>"),
        text,
    )


def _short_numbers(text: str) -> str:
    text = re.sub(r"\d+\.\d{3,}", lambda found: f"{float(found[0]):.2f}".rstrip("0").rstrip("."), text)
    return re.sub(r"\s*\n\s*", "", re.sub(r"\s*\n([A-Zz])", r"\1", text))
