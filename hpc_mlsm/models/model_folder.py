"""Models in folders: a manifest, and files that it names, with a part of their checksum in their own names.

A model is replaced as a whole, and what was altered or lost is not believed.
"""

import hashlib
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_mlsm.durable import is_stale_part, write_durably
from hpc_mlsm.errors import BundleError


@dataclass(frozen=True)
class OneFile:
    """How models of one kind lie in their folders.

    Parameters
    ----------
    kind : str
        What the model is called in messages.
    manifest : str
        Name of the manifest.
    stem, ending : str
        Of the model's file, between which its name has a part of its checksum.
    version : int
        Of manifest and file together.
    """

    kind: str
    manifest: str
    stem: str
    ending: str
    version: int

    def save(self, folder: Path, info: dict[str, Any], content: bytes) -> None:
        """Write a model and what it says of itself, in the place of the one that may be in the folder.

        Raises
        ------
        BundleError, StoreError
            If the folder cannot be made, or a file not be written; the old model is still there then, whole.
        """
        make_folder(folder)
        try:
            name, checksum = write_part(folder, self.stem, self.ending, content)
            described = {"schema": self.version, "info": info, "file": name, "sha256": checksum}
            manifest = json.loads(json.dumps(described))  # as it will be read back
            image = json.dumps(manifest | {"checksum": checksum_of(manifest)}, indent=1)
            write_durably(folder / self.manifest, image.encode())
        finally:
            self._remove_unnamed(folder)

    def read_manifest(self, folder: Path) -> dict[str, Any]:
        """The manifest in a folder, its version and checksum checked.

        Raises
        ------
        BundleError
            If there is none, or it is altered or of another version.
        """
        path = folder / self.manifest
        try:
            manifest = json.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BundleError(
                f"{folder} holds no trained {self.kind} ({self.manifest} is missing); run the train stage"
            ) from error
        except (OSError, ValueError) as error:
            raise BundleError(f"{path} cannot be read: {error}; train again") from error
        version = manifest.get("schema") if isinstance(manifest, dict) else None
        if version != self.version:
            raise BundleError(
                f"{folder} is a {self.kind} of version {version}, this program needs {self.version}; train again"
            )
        described = {key: value for key, value in manifest.items() if key != "checksum"}
        if checksum_of(described) != manifest.get("checksum"):
            raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
        return described

    def read_content(self, folder: Path, manifest: dict[str, Any]) -> bytes:
        """The model's file that the manifest names.

        Raises
        ------
        BundleError
            If it cannot be read, or is altered.
        """
        return read_part(folder, manifest["file"], manifest["sha256"])

    def _remove_unnamed(self, folder: Path) -> None:
        """Remove the files of models that were replaced, or were never finished."""
        try:
            kept = self.read_manifest(folder)["file"]
        except BundleError:
            if (folder / self.manifest).exists():
                return  # of another version perhaps, and not ours to clear away
            kept = ""
        remove_parts(folder, {(self.stem, self.ending)}, {kept})


def make_folder(folder: Path) -> None:
    """Make the folder of a model where it is missing.

    Raises
    ------
    BundleError
        If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BundleError(f"the folder {folder} cannot be made: {error}") from error


def write_part(folder: Path, stem: str, ending: str, content: bytes) -> tuple[str, str]:
    """Write a file of a model; returns its name, and its checksum, of which the name has a part.

    Raises
    ------
    StoreError
        If it cannot be written.
    """
    checksum = hashlib.sha256(content).hexdigest()
    name = f"{stem}-{checksum[:16]}{ending}"
    write_durably(folder / name, content)
    return name, checksum


def read_part(folder: Path, name: str, checksum: str) -> bytes:
    """A file of a model, by the name and the checksum that the manifest tells.

    Raises
    ------
    BundleError
        If it is missing, cannot be read, or is altered.
    """
    path = folder / Path(name).name
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise BundleError(
            f"{folder} is incomplete: {path.name} is missing; train again, or copy the whole folder"
        ) from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error}; train again, or copy the whole folder") from error
    if hashlib.sha256(content).hexdigest() != checksum:
        raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
    return content


def remove_parts(folder: Path, kinds: Collection[tuple[str, str]], kept: Collection[str]) -> None:
    """Remove files of models that were replaced, by stem and ending, or were never finished; but not those kept."""
    finished = [path for stem, ending in kinds for path in folder.glob(f"{stem}-*{ending}")]
    partial = [path for path in folder.glob(".*.part") if is_stale_part(path)]
    for path in (*finished, *partial):
        if path.name not in kept:
            with suppress(OSError):  # what is left over does no harm
                path.unlink()


def checksum_of(described: dict[str, Any]) -> str:
    """Checksum of what a manifest says."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
