"""What every figure has to keep to, measured on the figure itself."""

import re
from itertools import combinations

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def labels_without_unit(figure):
    """Axis labels that do not end in a unit or quantity in brackets; empty ones count unless ticks have no numbers."""
    wrong = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            text = axis.get_label_text()
            numbers = [t.get_text() for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            if not text and any(number[0].isdigit() for number in numbers):
                wrong.append(axis)
            elif text and not re.search(r"\(.+\)$", text):
                wrong.append(text)
    return wrong


def collisions(figure):
    """Pairs of texts that overlap, and texts that leave the figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    hidden = {id(label) for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for label in _out_of_view(axis)}
    boxes = {}
    for text in texts:
        if id(text) not in hidden:
            box = text.get_window_extent(renderer)
            boxes[text.get_text() + f" at {box.x0:.0f},{box.y0:.0f}"] = box
    # A pixel of overlap is the margin of the boxes, not of the letters.
    found = [(a, b) for a, b in combinations(boxes, 2) if boxes[a].padded(-1).overlaps(boxes[b].padded(-1))]
    inside = figure.bbox.padded(1.5)
    outside = [
        name for name, box in boxes.items() if not (inside.contains(box.x0, box.y0) and inside.contains(box.x1, box.y1))
    ]
    return found, outside


def _out_of_view(axis):
    low, high = sorted(axis.get_view_interval())
    for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks()):
        if not low <= tick.get_loc() <= high or not axis.get_visible():
            yield tick.label1
        yield tick.label2
