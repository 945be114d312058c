"""Tables of a cross-validation, for people (text) and programs (CSV).

Like those of the published comparison: the data sets by class; one table a data set with a row a model, mean (standard
deviation) over the folds; precision, recall and F1 of each class; confusion; answers to measured patterns.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpc_mlsm.evaluation.fold_scores import MEASURES, PER_CLASS, CrossValidation, Measure

Cell = str | int | float | tuple[float, float]
"""A table's cell; a pair is a mean with its standard deviation."""

_HEADINGS: dict[Measure, str] = {
    "accuracy": "Accuracy",
    "top2": "Top-2",
    "weighted_f1": "F1 (weighted)",
    "balanced_accuracy": "Balanced accuracy",
}


@dataclass(frozen=True)
class ScoreTable:
    """A table with a title and a name that a file can have."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def text(self) -> str:
        """The table in columns of text, means as ``0.701 (0.004)``."""
        cells = [self.columns, *(tuple(map(_shown, row)) for row in self.rows)]
        widths = [max(len(row[k]) for row in cells) for k in range(len(self.columns))]
        lines = ["  ".join(_padded(cell, width, k) for k, (cell, width) in enumerate(zip(row, widths, strict=True)))
                 for row in cells]  # fmt: skip
        rule = "  ".join("-" * width for width in widths)
        return "\n".join([self.title, lines[0].rstrip(), rule, *(line.rstrip() for line in lines[1:])]) + "\n"

    def csv(self) -> str:
        """The table as CSV at full precision; a mean and its standard deviation have a column each."""
        paired = [any(isinstance(row[k], tuple) for row in self.rows) for k in range(len(self.columns))]
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, lineterminator="\n")
        heads = [
            (f"{name} mean", f"{name} std") if pair else name for name, pair in zip(self.columns, paired, strict=True)
        ]
        for row in (heads, *self.rows):
            cells: list[object] = []
            for cell, pair in zip(row, paired, strict=True):
                cells += cell if isinstance(cell, tuple) else (cell, "") if pair else (cell,)
            writer.writerow(cells)
        return stream.getvalue()


def class_table(results: Sequence[CrossValidation]) -> ScoreTable:
    """Rows of each class in each data set, with their share."""
    sets = {result.data_set: result for result in results}
    classes = list(dict.fromkeys(name for result in sets.values() for name in result.classes))
    columns = ("Class", *(text for name in sets for text in (name, f"{name} %")))
    rows: list[tuple[Cell, ...]] = []
    for name in [*classes, "all"]:
        row: list[Cell] = [name]
        for result in sets.values():
            count = int(result.rows_by_class.sum()) if name == "all" else _count(result, name)
            row += [count, 100.0 * count / max(1, int(result.rows_by_class.sum()))]
        rows.append(tuple(row))
    return ScoreTable("classes", "Data sets by class", columns, tuple(rows))


def model_tables(results: Sequence[CrossValidation]) -> list[ScoreTable]:
    """One table for each data set: a row for each model, mean (standard deviation) over its folds."""
    tables = []
    for data_set in dict.fromkeys(result.data_set for result in results):
        chosen = [result for result in results if result.data_set == data_set]
        rows = (_row(result.model, *(result.mean_std(measure) for measure in MEASURES)) for result in chosen)
        count, folds = int(chosen[0].rows_by_class.sum()), len(chosen[0].folds)
        title = f"Data set {data_set}: {count} patterns, {folds} folds, mean (standard deviation)"
        columns = ("Model", *(_HEADINGS[measure] for measure in MEASURES))
        tables.append(ScoreTable(f"models-{data_set}", title, columns, tuple(rows)))
    return tables


def per_class_table(result: CrossValidation) -> ScoreTable:
    """Precision, recall and F1 of each class, mean (standard deviation) over the folds."""
    rows = (
        _row(name, int(result.rows_by_class[label]), *(result.class_mean_std(each, label) for each in PER_CLASS))
        for label, name in enumerate(result.classes)
    )
    columns = ("Class", "Patterns", "Precision", "Recall", "F1")
    return ScoreTable(f"class-{result.data_set}-{result.model}", _title(result, "by class"), columns, tuple(rows))


def confusion_table(result: CrossValidation) -> ScoreTable:
    """Patterns of each class (rows) by the class they were called (columns), over all folds."""
    rows = (_row(name, *(int(n) for n in result.confusion[label])) for label, name in enumerate(result.classes))
    columns = ("Class", *(f"called {name}" for name in result.classes))
    return ScoreTable(f"confusion-{result.data_set}-{result.model}", _title(result, "confusion"), columns, tuple(rows))


def measured_table(
    patterns: Sequence[str],
    answers: Mapping[str, NDArray[np.floating]],
    classes: Sequence[str],
    known: Sequence[str | None],
    flags: Sequence[Sequence[str]] = (),
) -> ScoreTable:
    """What each model says of measured patterns: its two first answers, beside the known class.

    Parameters
    ----------
    patterns : sequence of str (n,)
        Names.
    answers : mapping of str to floating (n, C)
        Probabilities by model.
    classes : sequence of str (C,)
        Names of the classes.
    known : sequence of str or None (n,)
        Known classes; where all are None the last row, the share that each model has right, is left out.
    flags : sequence of sequences of str (n,), optional
        What makes an answer doubtful.
    """
    rows: list[tuple[Cell, ...]] = []
    right: dict[str, list[bool]] = {model: [] for model in answers}
    for k, name in enumerate(patterns):
        row: list[Cell] = [name, known[k] or "unknown"]
        for model, probabilities in answers.items():
            order = np.argsort(-probabilities[k], kind="stable")[:2]
            row.append(", ".join(f"{classes[label]} {probabilities[k, label]:.2f}" for label in order))
            if known[k] is not None:
                right[model].append(classes[order[0]] == known[k])
        rows.append((*row, ", ".join(flags[k]) if flags else ""))
    if any(right.values()):
        shares = (f"{sum(found)} of {len(found)} right" for found in right.values())
        rows.append(("all", "", *shares, ""))
    return ScoreTable("measured", "Measured patterns", ("Pattern", "Known", *answers, "Doubts"), tuple(rows))


def _row(*cells: Cell) -> tuple[Cell, ...]:
    return cells


def _title(result: CrossValidation, what: str) -> str:
    return f"{result.model} on data set {result.data_set}, {what}"


def _count(result: CrossValidation, name: str) -> int:
    return int(result.rows_by_class[result.classes.index(name)]) if name in result.classes else 0


def _shown(cell: Cell) -> str:
    if isinstance(cell, tuple):
        return "–" if math.isnan(cell[0]) else f"{cell[0]:.3f} ({cell[1]:.3f})"
    return f"{cell:.1f}" if isinstance(cell, float) else str(cell)


def _padded(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column == 0 else cell.rjust(width)
