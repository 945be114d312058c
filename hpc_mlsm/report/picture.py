"""The one picture of a run: a measured pattern and its answer, the model's accuracy, and the classes."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import RunError
from hpc_mlsm.report.content import GroupSummary, PatternResult, ReportContent
from hpc_mlsm.report.figures import draw_accuracy, draw_group_sizes
from hpc_mlsm.report.notation import plain_figure, structure_figure
from hpc_mlsm.report.pattern_figure import draw_pattern
from hpc_mlsm.report.quantities import fixed, plural
from hpc_mlsm.report.style import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, HEIGHT = 1200, 420
"""Size of the picture (CSS pixels); the file has twice as many each way."""

_DPI = 200
_SIZES = {
    "font.size": 10.5,
    "axes.titlesize": 11.0,
    "legend.fontsize": 9.5,
    "figure.constrained_layout.w_pad": 0.16,
    "figure.constrained_layout.h_pad": 0.1,
}


def draw_overview(content: ReportContent, path_png: Path) -> Path:
    """Draw up to three panels beside each other: a pattern with its best candidate, accuracy at k, group sizes.

    Parameters
    ----------
    content : ReportContent
        Of which the first pattern with a fit, the scores and the groups are drawn, as far as they are there.
    path_png : Path
        File to write, 2400 × 840 pixels on white.

    Returns
    -------
    Path
        ``path_png``.

    Raises
    ------
    RunError
        If there is nothing to draw.
    StoreError
        If the file cannot be written.
    """
    panels = _panels(content)
    if not panels:
        raise RunError(
            f"{content.run}: there is no fitted pattern, score or group to draw; run the group, evaluate or predict "
            "stage first"
        )
    stream = io.BytesIO()
    with drawing(**_SIZES):
        from matplotlib.figure import Figure

        figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=_DPI, facecolor="white")
        ratios = [width for width, _ in panels]
        axes = figure.subplots(1, len(panels), gridspec_kw={"width_ratios": ratios}, squeeze=False)[0]
        for panel, (_, draw) in zip(axes, panels, strict=True):
            draw(panel)
        figure.savefig(stream, format="png", metadata={"Software": None})
    write_durably(path_png, stream.getvalue())
    return path_png


def _panels(content: ReportContent) -> list[tuple[float, "Callable[[Axes], None]"]]:
    """(relative width, function that draws) of each panel that there is something for."""
    panels: list[tuple[float, Callable[[Axes], None]]] = []
    pattern, groups = content.first_fitted(), content.groups
    if pattern is not None:
        panels.append((1.75, lambda axes: _draw_pattern(axes, pattern)))
    if any(score.top_k for score in content.scores):
        panels.append((1.0, lambda axes: _draw_accuracy(axes, content)))
    if groups is not None and groups.sizes:
        panels.append((1.05, lambda axes: _draw_groups(axes, groups)))
    return panels


def _draw_pattern(axes: "Axes", pattern: PatternResult) -> None:
    fit = pattern.fits[0]
    draw_pattern(axes, pattern)
    answer = f"{structure_figure(fit.label)}, $R_\\mathrm{{w}}$ = {fixed(fit.r_w)}"
    axes.set_title(f"{plain_figure(pattern.name, 30)}: best candidate {answer}", pad=10)
    axes.legend(loc="upper right", ncols=3, borderaxespad=0.0, handlelength=1.4, columnspacing=1.2)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.09 * (high - low))


def _draw_groups(axes: "Axes", groups: GroupSummary) -> None:
    draw_group_sizes(axes, groups)
    title = f"{plural(sum(groups.sizes), 'structure')}, {plural(len(groups.sizes), 'class', 'classes')}"
    axes.set_title(title, pad=10)


def _draw_accuracy(axes: "Axes", content: ReportContent) -> None:
    scores = tuple(score for score in content.scores if not score.dummy)
    draw_accuracy(axes, scores, (225, 235), label_size=8.5)
    axes.set_title("Accuracy on unseen variants", pad=10)
