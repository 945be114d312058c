"""The morning report of an archive: one HTML file with its figures, which are written as PNG and SVG as well."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from hpc_mlsm.durable import write_durably
from hpc_mlsm.report import archive_curves, archive_maps
from hpc_mlsm.report.archive_answer import VERDICTS, ArchiveAnswer
from hpc_mlsm.report.archive_rows import aside_reasons, changing_shapes, doubtful_stretches, phase_rows
from hpc_mlsm.report.archive_splitting import splittings
from hpc_mlsm.report.fit_values import fitted_values
from hpc_mlsm.report.page import flat_settings, script_and_hash, style_sheet, templates
from hpc_mlsm.report.style import drawing, to_svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 160

Draw = Callable[[ArchiveAnswer], "Figure"]

_FIGURES: tuple[tuple[str, str, Draw], ...] = (
    ("timeline", "Classes and verdicts along the series", archive_maps.timeline_figure),
    ("waterfall", "Patterns along the series, as curves and as colours", archive_maps.waterfall_figure),
    ("correlation", "Pearson correlation of every pattern with every other", archive_maps.correlation_figure),
    ("components", "Curves and weights of the components", archive_curves.components_figure),
    ("stretch", "Factors by which the components are stretched", archive_curves.stretch_figure),
    ("explained", "Variance explained by principal components", archive_curves.explained_figure),
    ("parameters", "Refined values along the series", archive_curves.parameters_figure),
)
_NEED_DECOMPOSITION = frozenset({"correlation", "components", "explained"})


def write_morning_report(answer: ArchiveAnswer, path: Path) -> Path:
    """Write the report as one HTML file, and its figures into a folder ``figures`` beside it.

    The HTML needs nothing else, neither the run nor a network; the same answer gives the same bytes. Of long archives
    figures show means or quantiles of neighbouring frames, and say so.

    Raises
    ------
    StoreError
        If a file cannot be written.
    """
    folder = path.with_name("figures")
    folder.mkdir(parents=True, exist_ok=True)
    shown: dict[str, Markup] = {}
    with drawing():
        for name, label, figure in _drawn(answer):
            shown[name] = to_svg(figure, name, label)
            figure.set_layout_engine("none")  # laid out by now, which takes longer than drawing
            _write_files(figure, folder / name)
    write_durably(path, _render(answer, shown).encode())
    return path


def _drawn(answer: ArchiveAnswer) -> Iterator[tuple[str, str, "Figure"]]:
    """Name, label and figure, of what there is."""
    for name, label, draw in _FIGURES:
        if name in _NEED_DECOMPOSITION and answer.decomposition is None:
            continue
        if name == "stretch" and (answer.decomposition is None or answer.decomposition.stretch is None):
            continue
        if (name == "parameters" and answer.fits is None) or (name == "waterfall" and not len(answer.patterns)):
            continue
        yield name, label, draw(answer)
    for kind, fits in _fits(answer).items():
        for number, fit in enumerate(fits, start=1):
            yield f"{kind}-{number}", f"Fit of {fit.name}", archive_curves.fit_figure(fit)


def _fits(answer: ArchiveAnswer) -> dict[str, Any]:
    return {"component-fit": answer.component_fits, "best-fit": answer.best_fits, "worst-fit": answer.worst_fits}


def _write_files(figure: "Figure", path: Path) -> None:
    """The figure on white, as PNG and as SVG."""
    for ending, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
        stream = io.BytesIO()
        figure.savefig(stream, format=ending, dpi=DPI, facecolor="white", metadata=metadata)
        write_durably(path.with_suffix(f".{ending}"), stream.getvalue())


def _render(answer: ArchiveAnswer, figures: dict[str, Markup]) -> str:
    stretches, n_stretches = doubtful_stretches(answer)
    script, script_hash = script_and_hash()
    return (
        templates()
        .get_template("archive.html.j2")
        .render(
            answer=answer,
            figures=figures,
            counts=answer.counts,
            verdicts=VERDICTS,
            phases=phase_rows(answer),
            stretches=stretches,
            n_stretches=n_stretches,
            aside=aside_reasons(answer),
            changing=changing_shapes(answer),
            fits={
                kind: [(number, fit, fitted_values(fit.fit)) for number, fit in enumerate(fits, start=1)]
                for kind, fits in _fits(answer).items()
            },
            splittings=splittings(answer),
            settings=flat_settings(answer.settings),
            single_points=archive_curves.SINGLE_POINTS,
            n_fitted=int(np.isfinite(answer.fits.r_w).sum()) if answer.fits is not None else 0,
            median_r_w=median_r_w(answer),
            style=style_sheet(),
            script=script,
            script_hash=script_hash,
        )
    )


def median_r_w(answer: ArchiveAnswer) -> float:
    """Median R_w of the frames that were refined; NaN where none was."""
    known = answer.fits.r_w[np.isfinite(answer.fits.r_w)] if answer.fits is not None else np.empty(0)
    return float(np.median(known)) if len(known) else float("nan")
