"""Groups of a NeXus file that viewers draw as plots: one signal or several over the same axes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import h5py
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Quantity:
    """Values with their unit as NeXus writes it ("angstrom", "1/angstrom^2"), and standard uncertainties."""

    values: NDArray[np.generic]
    unit: str = ""
    errors: NDArray[np.floating] | None = None
    label: str = ""


def nexus_group(parent: h5py.Group, name: str, nx_class: str) -> h5py.Group:
    """A new group of a NeXus class."""
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    return group


def nexus_plot(
    parent: h5py.Group, name: str, signals: Mapping[str, Quantity], axes: Mapping[str, Quantity], title: str = ""
) -> h5py.Group:
    """A group that viewers draw: the first signal over the axes, the others with it; returns the group.

    The title gets the unit of the signals: some viewers label no axis with it.
    """
    group = nexus_group(parent, name, "NXdata")
    first, *others = signals
    group.attrs["signal"] = first
    if others:
        group.attrs["auxiliary_signals"] = others
    group.attrs["axes"] = list(axes)
    for position, (axis, quantity) in enumerate(axes.items()):
        _write(group, axis, quantity)
        group.attrs[f"{axis}_indices"] = position
    for signal, quantity in signals.items():
        _write(group, signal, quantity)
        if quantity.errors is not None:
            _write(group, f"{signal}_errors", Quantity(quantity.errors, quantity.unit))
    if title:
        unit = signals[first].unit
        group["title"] = f"{title} ({unit})" if unit else title
    return group


def nexus_texts(parent: h5py.Group, name: str, values: Sequence[str]) -> None:
    """A list of texts."""
    parent.create_dataset(name, data=np.array(values, dtype=object), dtype=h5py.string_dtype())


def _write(group: h5py.Group, name: str, quantity: Quantity) -> None:
    """Compressed by a filter that every HDF5 library has: result files travel to where plugins are missing."""
    large = quantity.values.size > 4096
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if large else {}
    dataset = group.create_dataset(name, data=quantity.values, **packed)
    if quantity.unit:
        dataset.attrs["units"] = quantity.unit
    if quantity.label:
        dataset.attrs["long_name"] = quantity.label
