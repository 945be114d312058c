"""A decomposition as a file, by which later stages go on and a repeated run knows what is done."""

from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np

from hpc_mlsm.decomposition.decomposition import Decomposition
from hpc_mlsm.decomposition.nonnegative import Components
from hpc_mlsm.decomposition.principal import Principal, Proposal
from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import H5_ERRORS, get_text, new_file, set_text, write_bulk

SCHEMA_VERSION = 1
_FORMAT = "hpc_mlsm decomposition"
_ARRAYS = ("correlation", "bounds", "neighbours", "weights", "scores", "left")


def save_decomposition(path: Path, found: Decomposition, fingerprint: str) -> None:
    """Write a decomposition; the file appears only when it is whole.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    image = BytesIO()
    with new_file(image) as file:
        file.attrs["schema_version"] = SCHEMA_VERSION
        set_text(file, creator=_FORMAT, fingerprint=fingerprint)
        for name in _ARRAYS:
            write_bulk(file, name, np.asarray(getattr(found, name)))
        if found.stretch is not None:
            write_bulk(file, "stretch", found.stretch)
        for name in ("mean", "axes", "variances"):
            write_bulk(file, f"principal_{name}", getattr(found.principal, name))
        for name in ("curves", "shift"):
            write_bulk(file, f"components_{name}", getattr(found.components, name))
        file.attrs.update({"left": found.components.left, "fixed": found.components.fixed})
        set_text(file, start=found.components.start, rule=found.proposal.rule)
        file.attrs.update({f"proposal_{key}": value for key, value in asdict(found.proposal).items() if key != "rule"})
    write_durably(path, image.getvalue())


def decomposition_fingerprint(path: Path) -> str:
    """Of which series and settings a file is; empty where there is none, or none that can be read."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            return get_text(file, "fingerprint")
    except H5_ERRORS:
        return ""


def load_decomposition(path: Path) -> Decomposition:
    """What ``save_decomposition`` wrote.

    Raises
    ------
    StoreError
        If the file is missing, damaged, or of another version.
    """
    try:
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs["schema_version"] != SCHEMA_VERSION:
                raise StoreError(f"{path} is of version {file.attrs['schema_version']}; decompose again")
            attributes = dict(file.attrs)
            names = ("components", "parallel", "malinowski")
            proposal = Proposal(
                **{name: int(attributes[f"proposal_{name}"]) for name in names},
                rule=get_text(file, "rule"),
                closed=bool(attributes["proposal_closed"]),
            )
            components = Components(
                file["components_curves"][()],
                file["components_shift"][()],
                float(attributes["left"]),
                get_text(file, "start"),
                int(attributes["fixed"]),
            )
            principal = Principal(**{name: file[f"principal_{name}"][()] for name in ("mean", "axes", "variances")})
            arrays = {name: file[name][()] for name in (*_ARRAYS, "stretch") if name != "stretch" or name in file}
    except H5_ERRORS as error:
        raise StoreError(f"{path} cannot be read ({error}); decompose again") from error
    return Decomposition(**arrays, principal=principal, proposal=proposal, components=components)
