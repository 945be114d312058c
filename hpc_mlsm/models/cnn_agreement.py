"""Ranks that train together must have the same data, settings and versions; else their sums mean nothing."""

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hpc_mlsm import __version__
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.models.cnn_checkpoint import checkpoint_digest
from hpc_mlsm.models.cnn_networks import load_tensorflow
from hpc_mlsm.models.cnn_settings import NOT_OF_THE_RESULT, CnnSettings

REMEDIES = {
    "data": "let all ranks read the same run directory, on a file system that all nodes share",
    "settings": "start all ranks with the same configuration",
    "checkpoint": "let all ranks see the same run directory; a network file system may need a moment, then start again",
}
TENSORFLOW = ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tensorflow-intel", "tf-nightly")
"""Packages that bring the module."""

VERSIONS_REMEDY = "use the same environment on all nodes"


def settings_fingerprint(settings: CnnSettings) -> dict[str, object]:
    """What of the settings changes the model."""
    return {name: value for name, value in asdict(settings).items() if name not in NOT_OF_THE_RESULT}


def training_card(fingerprint: str, settings: CnnSettings, folder: Path) -> dict[str, str]:
    """What a rank says of itself to the others before they train together; plain text, for JSON.

    Parameters
    ----------
    fingerprint
        Names the data (and settings), as for ``train_cnn``.
    folder
        Of the checkpoints.

    Raises
    ------
    ConfigError
        If TensorFlow is missing.
    """
    if find_spec("tensorflow") is None:
        load_tensorflow()  # says what to install
    return {
        "data": fingerprint,
        "settings": repr(sorted(asdict(settings).items())),
        "checkpoint": checkpoint_digest(folder, fingerprint),
        "hpc_mlsm": __version__,
        "python": platform.python_version(),
        "tensorflow": _version(TENSORFLOW),
        "keras": _version(("keras",)),
        "numpy": np.__version__,
    }


def _version(packages: Sequence[str]) -> str:
    """Of the first of these packages that is installed; the modules are not loaded, which takes seconds."""
    for name in packages:
        with suppress(PackageNotFoundError):
            return version(name)
    return "unknown"


def refuse_differences(cards: Sequence[Mapping[str, str]]) -> None:
    """Compare the cards of all ranks.

    Raises
    ------
    ConfigError
        If they differ; names what differs, on which ranks, and the remedy.
    """
    for name in sorted({key for card in cards for key in card}):
        found = [card.get(name, "nothing") for card in cards]
        if len(set(found)) > 1:
            ranks_of = {value: [k for k, own in enumerate(found) if own == value] for value in dict.fromkeys(found)}
            said = "; ".join(
                f"rank{'s' * (len(ranks) > 1)} {', '.join(map(str, ranks[:8]))}: {value[:200] or 'none'}"
                for value, ranks in ranks_of.items()
            )
            remedy = REMEDIES.get(name, VERSIONS_REMEDY)
            raise ConfigError(f"ranks that train together differ in {name} ({said}); {remedy}")
