"""Writes the report of a run: one HTML file that needs nothing else, neither the run nor a network."""

import base64
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from hpc_mlsm.durable import write_durably
from hpc_mlsm.evaluation.fold_files import DUMMY
from hpc_mlsm.report import figures, notation, quantities
from hpc_mlsm.report.content import PatternResult, ReportContent
from hpc_mlsm.report.doubts import doubts_of
from hpc_mlsm.report.fit_values import fitted_values
from hpc_mlsm.report.fold_section import cell_text, fold_figures, fold_values
from hpc_mlsm.report.learning_figure import learning_figure
from hpc_mlsm.report.pattern_figure import SHOWN, pattern_figure
from hpc_mlsm.report.style import drawing, to_svg
from hpc_mlsm.report.summary import summary_of
from hpc_mlsm.report.verdicts import expected_rank, verdict_of

if TYPE_CHECKING:
    from jinja2 import Environment

MAX_FIGURES = 24
MAX_WEAK_SPOTS = 20
MAX_ROWS = 2000
"""Rows of any one table; a report says where it leaves out the rest."""

_FOLDER = Path(__file__).parent
_SORT_SCRIPT = """\
document.querySelectorAll("table.sortable").forEach(function (table) {
  table.querySelectorAll("thead th").forEach(function (head, column) {
    head.tabIndex = 0;
    function sort() {
      var up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
      function key(row) { var cell = row.cells[column]; return cell.dataset.v || cell.textContent.trim(); }
      var rows = Array.from(body.rows).sort(function (a, b) {
        var x = key(a), y = key(b), d = x - y;
        return (isNaN(d) ? x.localeCompare(y, "en", {numeric: true}) : d) * (up ? 1 : -1);
      });
      table.querySelectorAll("thead th").forEach(function (other) { other.removeAttribute("aria-sort"); });
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      rows.forEach(function (row) { body.appendChild(row); });
    }
    head.addEventListener("click", sort);
    head.addEventListener("keydown", function (e) { if (e.key === "Enter") sort(); });
  });
});
"""


def write_report(content: ReportContent, path: Path, max_figures: int = MAX_FIGURES) -> Path:
    """Write the report of a run as one HTML file.

    The file holds its figures as SVG and asks nothing of a network; the same content gives the same bytes. It
    appears under its name only when it is whole.

    Parameters
    ----------
    content : ReportContent
        What to show; parts that are None or empty are said not to have been run.
    path : Path
        File to write, in a folder that exists.
    max_figures : int
        Patterns that get a figure and a table of candidates of their own; the others have a row in a table.

    Returns
    -------
    Path
        ``path``.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    write_durably(path, render(content, max_figures).encode("utf-8"))
    return path


def render(content: ReportContent, max_figures: int = MAX_FIGURES) -> str:
    """The text of the report's HTML."""
    with drawing():
        drawn = dict(_figures(content))
        shown = [_card(place, pattern) for place, pattern in enumerate(content.patterns[:max_figures], start=1)]
    script, script_hash = script_and_hash()
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            content=content,
            figures=drawn,
            cards=shown,
            rows=[_row(pattern) for pattern in content.patterns[:MAX_ROWS]],
            summary=summary_of(content),
            doubts=doubts_of(content),
            settings=flat_settings(content.settings),
            weak_spots=content.weak_spots[:MAX_WEAK_SPOTS],
            max_rows=MAX_ROWS,
            dummy=DUMMY,
            **fold_values(content.folds),
            style=style_sheet(),
            script=script,
            script_hash=script_hash,
        )
    )


def style_sheet() -> Markup:
    """The style of all pages."""
    return Markup((_FOLDER / "report.css").read_text(encoding="utf-8"))


def script_and_hash() -> tuple[Markup, str]:
    """The script that sorts tables, and its hash, by which a page's policy lets it and no other run."""
    return Markup(_SORT_SCRIPT), base64.b64encode(hashlib.sha256(_SORT_SCRIPT.encode()).digest()).decode()


def flat_settings(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Nested settings as (section, [(dotted key, text)])."""
    return [(name, list(_flat(value))) for name, value in settings.items()]


@cache
def templates() -> "Environment":
    """The templates of pages, with their filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": cell_text,
        "count": quantities.count,
        "duration": quantities.duration,
        "fixed": quantities.fixed,
        "percent": quantities.percent,
        "plural": quantities.plural,
        "rounded": quantities.rounded,
        "formula": notation.formula_html,
        "space_group": notation.space_group_html,
        "structure": notation.structure_html,
    }
    return environment


def _figures(content: ReportContent) -> Iterator[tuple[str, Markup]]:
    """Figures of the run as a whole, by name; only of what there is."""
    if content.catalogue is not None and any(content.catalogue.crystal_systems.values()):
        figure = figures.crystal_systems_figure(content.catalogue)
        yield "systems", to_svg(figure, "systems", "Bar chart: structures by crystal system")
    if content.groups is not None and content.groups.sizes:
        yield "groups", to_svg(figures.group_sizes_figure(content.groups), "groups", "Histogram of group sizes")
    if any(score.top_k for score in content.scores):
        yield "accuracy", to_svg(figures.accuracy_figure(content.scores), "accuracy", "Bar chart: accuracy at k")
    if content.training is not None and content.training.losses:
        figure = figures.training_figure(content.training)
        yield "training", to_svg(figure, "training", "Validation loss by boosting round")
    for network in content.networks:
        figure = learning_figure(network.history, network.best_epoch)
        yield network.name, to_svg(figure, network.name, f"Loss and accuracy of {network.name} by epoch")
    for name, figure, label in fold_figures(content.folds) if content.folds is not None else ():
        yield name, to_svg(figure, name, label)
    if content.calibration is not None and len(content.calibration.counts):
        figure = figures.reliability_figure(content.calibration)
        yield "reliability", to_svg(figure, "reliability", "Reliability diagram: accuracy by confidence")
    if content.weak_spots:
        figure = figures.weak_spots_figure(content.weak_spots[:MAX_WEAK_SPOTS])
        yield "weak", to_svg(figure, "weak", "Bar chart: classes that are often missed")


def _row(pattern: PatternResult) -> dict[str, Any]:
    candidates = pattern.ranking.candidates
    return {
        "pattern": pattern,
        "best": candidates[0] if candidates else None,
        "second": candidates[1] if len(candidates) > 1 else None,
        "fit": pattern.fit_of(1),
        "verdict": verdict_of(pattern),
        "expected_rank": expected_rank(pattern),
    }


def _card(place: int, pattern: PatternResult) -> dict[str, Any]:
    label = f"Pattern {pattern.name}" + (" with curves of its candidates and the differences" if pattern.fits else "")
    return _row(pattern) | {
        "place": place,
        "figure": to_svg(pattern_figure(pattern), f"p{place}", label),
        "fits": [(rank, fit, fitted_values(fit)) for rank, fit in pattern.ranked_fits[:SHOWN]],
        "others": any(candidate.others for candidate in pattern.ranking.candidates),
        "fit_of": dict(pattern.ranked_fits),
    }


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted key, text)."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, _setting(value)


def _setting(value: Any) -> str:
    if value is None or value == {} or value == () or value == []:
        return "none"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_setting, value)) + "]"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
