"""The page of answers about measured powder patterns: one HTML file that needs nothing else."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.archive.powder_answers import PowderAnswer
from hpc_mlsm.durable import write_durably
from hpc_mlsm.models.powder_models import PowderModel
from hpc_mlsm.report.page import MAX_FIGURES, MAX_ROWS, style_sheet, templates
from hpc_mlsm.report.powder_figure import answers_figure, model_label, seen_figure
from hpc_mlsm.report.style import drawing, to_svg

TITLE = "Crystal systems of measured powder patterns"


def write_powder_page(
    path: Path,
    models: tuple[PowderModel, ...],
    answers: Sequence[PowderAnswer],
    rejects: Sequence[PatternReject],
    provenance: Mapping[str, str],
    max_figures: int = MAX_FIGURES,
) -> Path:
    """Write the page: a table of all patterns, and for the first ones what the models saw and said, as bar charts.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    with drawing():
        rows = [
            _row(place, answer, models, draw=place < max_figures) for place, answer in enumerate(answers[:MAX_ROWS])
        ]
    text = templates().get_template("powder_answers.html.j2").render(
        title=TITLE,
        models=models,
        labels=[model_label(model) for model in models],
        answers=answers,
        agreed=sum(answer.agreed for answer in answers),
        votes=not all(model.calibrated for model in models),
        calibrated=any(model.calibrated for model in models),
        rows=rows,
        cards=max_figures,
        rejects=rejects,
        provenance=provenance,
        max_rows=MAX_ROWS,
        style=style_sheet(),
    )  # fmt: skip
    write_durably(path, text.encode("utf-8"))
    return path


def _row(place: int, answer: PowderAnswer, models: tuple[PowderModel, ...], *, draw: bool) -> dict[str, Any]:
    classes = models[0].classes
    firsts = [
        (classes[label], float(shares[label]))
        for label, shares in zip(answer.labels, answer.probabilities, strict=True)
    ]
    row: dict[str, Any] = {"answer": answer, "firsts": firsts, "seen": Markup(), "bars": Markup()}
    if draw:
        seen = seen_figure(answer, models[0])
        row["seen"] = to_svg(seen, f"s{place}", f"Pattern {answer.name} as the models saw it")
        row["bars"] = to_svg(answers_figure(answer, models), f"b{place}", f"Bar chart: classes of {answer.name}")
    return row
