"""The section of a report about cross-validation: its figures and tables."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hpc_mlsm.evaluation.fold_files import DUMMY, FoldStudy, exclusion_table, relabelled_table
from hpc_mlsm.evaluation.fold_scores import CrossValidation
from hpc_mlsm.evaluation.fold_tables import Cell, class_table, model_tables, per_class_table
from hpc_mlsm.report.fold_figures import confusion_figure, models_figure
from hpc_mlsm.report.quantities import NOT_KNOWN, count, fixed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def fold_figures(study: FoldStudy) -> Iterator[tuple[str, "Figure", str]]:
    """Name, figure, and what it is, of all figures."""
    for name, results in by_data_set(study).items():
        yield f"folds-{name}", models_figure(results), f"Bar chart: scores of models on data set {name}"
        for result in results:
            if result.model != DUMMY:
                label = f"Confusion matrix of {result.model} on data set {name}"
                yield f"confusion-{name}-{result.model}", confusion_figure(result), label


def fold_values(study: FoldStudy | None) -> dict[str, Any]:
    """What the template shows, by the names it uses."""
    if study is None:
        return {"fold_sets": (), "fold_classes": None, "fold_excluded": None, "fold_relabelled": None}
    tables = model_tables(study.results)
    sets = [
        {
            "name": name,
            "models": table,
            "trained": [
                {"name": result.model, "classes": per_class_table(result)}
                for result in results
                if result.model != DUMMY
            ],
        }
        for (name, results), table in zip(by_data_set(study).items(), tables, strict=True)
    ]
    excluded = exclusion_table(study.excluded) if any(study.excluded.values()) else None
    return {
        "fold_sets": sets,
        "fold_classes": class_table(study.results),
        "fold_excluded": excluded,
        "fold_relabelled": relabelled_table(study.relabelled) if study.relabelled else None,
    }


def by_data_set(study: FoldStudy) -> dict[str, list[CrossValidation]]:
    """Results of each data set, in the order in which they were given."""
    found: dict[str, list[CrossValidation]] = {}
    for result in study.results:
        found.setdefault(result.data_set, []).append(result)
    return found


def cell_text(cell: Cell) -> str:
    """A table's cell as people read it: a mean with its standard deviation, a share in per cent, a count, a name."""
    if isinstance(cell, tuple):
        mean, std = cell
        return f"{fixed(mean)} ({fixed(std)})" if math.isfinite(mean) else NOT_KNOWN
    if isinstance(cell, float):
        return fixed(cell, 1)
    return count(cell) if isinstance(cell, int) else cell
