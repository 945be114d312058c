"""All that was found of an archive as one NeXus file, which silx view and H5Web open as plots.

In ``/entry``: ``patterns`` (means of neighbouring frames of a long archive), ``phases`` (probability of the commonest
classes along the series), ``candidates`` and ``verdict`` of every frame, ``correlation``, ``explained``, ``components``
and ``weights`` of the decomposition, ``r_w`` and ``refinement`` (a plot for each parameter of each structure),
``classes`` and ``frames`` with the texts that belong to them, and ``process`` with what made the file.
"""

import re
from collections.abc import Iterable

import h5py
import numpy as np

import hpc_mlsm
from hpc_mlsm.archive.candidates import Candidate
from hpc_mlsm.report.archive_answer import VERDICTS, ArchiveAnswer
from hpc_mlsm.report.archive_maps import series_axis, shown_phases
from hpc_mlsm.report.archive_values import refined_values
from hpc_mlsm.report.binning import Bins
from hpc_mlsm.report.nexus_plots import Quantity, nexus_group, nexus_plot, nexus_texts

_UNITS = {"Å": "angstrom", "Å²": "angstrom^2", "Å⁻¹": "1/angstrom", "°": "degree"}


def archive_image(answer: ArchiveAnswer) -> bytes:
    """The bytes of the file; made in memory, so that a full disk is met by one plain write.

    Memory: some 100 bytes a frame, and the Pearson matrix.
    """
    with h5py.File("archive", "w", driver="core", backing_store=False) as file:
        file.attrs.update({"creator": "hpc_mlsm", "default": "entry"})
        entry = nexus_group(file, "entry", "NXentry")
        entry.attrs["default"] = "phases" if len(answer.classes) else "verdict"
        entry["title"] = " ".join((answer.title, *answer.synthetic))
        _write_frames(entry, answer)
        if len(answer.patterns):
            _write_patterns(entry, answer)
        if answer.decomposition is not None:
            _write_decomposition(entry, answer)
        if answer.fits is not None:
            _write_fits(entry, answer)
        _write_process(entry, answer)
        file.flush()
        image: bytes = file.id.get_file_image()
    return image


def _along(answer: ArchiveAnswer, frames: "np.ndarray | None" = None) -> dict[str, Quantity]:
    axis = series_axis(answer)
    values = axis.values if frames is None else axis.values[frames]
    return {_name(axis.name): Quantity(values, "" if axis.unit == "number" else axis.unit)}


def _meaning(places: Iterable[int]) -> str:
    return ", ".join(f"{place}: {VERDICTS[place]}" for place in places)


def _name(text: str) -> str:
    """A text as a name that NeXus allows."""
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "unnamed"


def _write_frames(entry: h5py.Group, answer: ArchiveAnswer) -> None:
    along = _along(answer)
    ranks = Quantity(np.arange(1, answer.k + 1))
    candidates = {"probability": Quantity(answer.probability), "class": Quantity(answer.top)}
    title = "Probability of the candidates of each frame"
    nexus_plot(entry, "candidates", candidates, along | {"rank": ranks}, title).attrs["calibrated"] = answer.calibrated
    verdict = {"verdict": Quantity(answer.verdict, label=_meaning(range(len(VERDICTS))))}
    title = f"Verdict of each frame ({_meaning(np.unique(answer.verdict))})"
    nexus_plot(entry, "verdict", verdict, along, title)
    if len(answer.classes):
        phases = {
            f"class_{place}": Quantity(_probability_of(answer, place), label=answer.label(place))
            for place in shown_phases(answer) or [0]
        }
        nexus_plot(entry, "phases", phases, along, "Probability of the commonest classes")
    classes = nexus_group(entry, "classes", "NXcollection")
    members = [one.representative_member for one in answer.classes]
    nexus_texts(classes, "class_id", [one.class_id for one in answer.classes])
    nexus_texts(classes, "formula", [one.formula for one in members])
    nexus_texts(classes, "space_group", [one.space_group_symbol for one in members])
    nexus_texts(classes, "name", [one.name for one in members])
    nexus_texts(classes, "structure_ids", ["; ".join(one.id for one in entry.members) for entry in answer.classes])
    frames = nexus_group(entry, "frames", "NXcollection")
    nexus_texts(frames, "name", answer.names)
    nexus_texts(frames, "reason", answer.reason)
    frames[_name(answer.axis.name)] = answer.axis.values
    frames[_name(answer.axis.name)].attrs["units"] = answer.axis.unit


def _probability_of(answer: ArchiveAnswer, place: int) -> np.ndarray:
    """Probability of one class in each frame: 0 where it is not among the candidates, NaN where there are none."""
    found = np.where(answer.top == place, answer.probability, 0.0).sum(axis=1)
    return np.where(answer.top[:, 0] >= 0, found, np.nan).astype(np.float32)


def _write_patterns(entry: h5py.Group, answer: ArchiveAnswer) -> None:
    of = answer.plotted
    axes = _along_runs(answer) | {of.abscissa: Quantity(answer.grid, of.unit)}
    signal = {of.signal: Quantity(answer.patterns, of.signal_unit, label=of.signal_text)}
    nexus_plot(entry, "patterns", signal, axes, "Patterns")


def _along_runs(answer: ArchiveAnswer) -> dict[str, Quantity]:
    """The place of each run of neighbouring frames."""
    if answer.decomposition is None:
        return _along(answer, answer.used)
    bins = Bins(answer.decomposition.bounds)
    return {
        name: Quantity(bins.mean(one.values.astype(float)), one.unit)
        for name, one in _along(answer, answer.used).items()
    }


def _write_decomposition(entry: h5py.Group, answer: ArchiveAnswer) -> None:
    found = answer.decomposition
    assert found is not None
    along, k = _along(answer, answer.used), len(found.components.curves)
    numbers = Quantity(np.arange(1, k + 1))
    of = answer.plotted
    label = f"{of.signal_text} of the component"
    curves = {of.signal: Quantity(found.components.curves, of.signal_unit, label=label)}
    axes = {"component": numbers, of.abscissa: Quantity(answer.grid, of.unit)}
    components = nexus_plot(entry, "components", curves, axes, "Curves of the components")
    components["raised_by"] = found.components.shift
    if answer.component_candidates:
        names = ["; ".join(map(_candidate, one.candidates[:3])) for one in answer.component_candidates]
        nexus_texts(components, "candidates", names)
    weights = {f"component_{j + 1}": Quantity(found.weights[:, j]) for j in range(k)}
    group = nexus_plot(entry, "weights", weights, along, "Weights of the components")
    if "frame" not in group:  # which is what a series without a variable goes along
        group["frame"] = answer.used
    group["not_described"] = found.left
    if found.stretch is not None:
        stretch = {f"component_{j + 1}": Quantity(found.stretch[:, j]) for j in range(k)}
        nexus_plot(entry, "stretch", stretch, along, "Factors by which the components are stretched")
    explained = {"explained": Quantity(100 * found.principal.explained[:50], "percent")}
    number = {"principal_component": Quantity(np.arange(1, len(found.principal.explained[:50]) + 1))}
    nexus_plot(entry, "explained", explained, number, "Variance that principal components explain")
    (name, place) = next(iter(_along_runs(answer).items()))
    matrix = {"correlation": Quantity(found.correlation)}
    nexus_plot(entry, "correlation", matrix, {name: place, f"{name}_2": place}, "Pearson matrix")
    nexus_plot(
        entry, "neighbours", {"correlation": Quantity(found.neighbours)}, along, "Correlation with the one before"
    )


def _candidate(one: Candidate) -> str:
    group = f" ({one.space_group_symbol})" if one.space_group else ""
    return f"{one.formula}{group} {one.probability:.3f}"


def _write_fits(entry: h5py.Group, answer: ArchiveAnswer) -> None:
    fits = answer.fits
    assert fits is not None
    along = _along(answer)
    nexus_plot(entry, "r_w", {"r_w": Quantity(fits.r_w)}, along, "R_w of the fits")
    folder = nexus_group(entry, "refinement", "NXcollection")
    for one in refined_values(fits, answer.classes):
        values = Quantity(one.values, _UNITS.get(one.unit, one.unit), one.errors, f"{one.name} of {one.structure}")
        name = _name(f"{one.structure} {one.name}")
        if name not in folder:
            nexus_plot(folder, name, {one.name: values}, along, f"{one.name} of {one.structure}")
    for name in ("kind", "phases", "reason", "notes"):
        nexus_texts(folder, name, [str(text) for text in getattr(fits, name)])
    folder["fits"], folder["converged"], folder["doubtful"] = fits.fits, fits.converged, fits.doubtful


def _write_process(entry: h5py.Group, answer: ArchiveAnswer) -> None:
    process = nexus_group(entry, "process", "NXprocess")
    process["program"] = "hpc_mlsm"
    process["version"] = hpc_mlsm.__version__
    process["date"] = answer.created.isoformat()
    process["archive"] = answer.archive
    notes = nexus_group(process, "provenance", "NXcollection")
    for key, value in answer.provenance.items():
        notes[_name(key)] = value
    nexus_texts(process, "notes", answer.notes)
