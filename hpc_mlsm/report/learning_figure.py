"""How a network learnt: loss and accuracy, epoch by epoch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.report.quantities import count
from hpc_mlsm.report.style import BLUE, MUTED, VERMILION, thinned

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def learning_figure(history: Sequence[EpochRecord], best: int) -> "Figure":
    """Loss and accuracy on training and validation patterns after each epoch; ``best`` is the epoch that was kept.

    The training loss is that of the training itself: smoothed labels, other heads, and dropout are in it.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    figure = Figure(figsize=(7.2, 2.7))
    losses, accuracies = figure.subplots(1, 2)
    epochs = np.array([record.epoch for record in history])
    for axes, name in ((losses, "loss"), (accuracies, "accuracy")):
        for field, colour, label in ((name, MUTED, "training"), (f"validation_{name}", BLUE, "validation")):
            values = np.array([getattr(record, field) for record in history], dtype=float)
            axes.plot(*thinned(epochs, values), color=colour, label=label, marker="." if len(epochs) == 1 else None)
        if best in epochs:
            kept = getattr(history[int(np.flatnonzero(epochs == best)[0])], f"validation_{name}")
            axes.plot([best], [kept], "o", color=VERMILION, markersize=5, label=f"kept: epoch {count(best)}")
        axes.grid(axis="y")
        axes.margins(x=0.03)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        axes.set_xlabel("Epoch (number)")
    losses.set_ylabel("Loss (nats)")
    losses.set_ylim(bottom=0)
    accuracies.set_ylim(0, 1.02)
    accuracies.yaxis.set_major_formatter(PercentFormatter(1.0))
    accuracies.set_ylabel("Accuracy (share of patterns)")
    accuracies.legend(loc="lower right", handlelength=1.0)
    return figure
