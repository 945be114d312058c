"""A model of one file and a manifest in a folder, replaced as a whole; what was altered or lost is not believed."""

import hashlib
import json
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
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BundleError(f"the folder {folder} cannot be made: {error}") from error
        checksum = hashlib.sha256(content).hexdigest()
        name = f"{self.stem}-{checksum[:16]}{self.ending}"
        described = {"schema": self.version, "info": info, "file": name, "sha256": checksum}
        try:
            write_durably(folder / name, content)
            manifest = json.loads(json.dumps(described))  # as it will be read back
            image = json.dumps(manifest | {"checksum": _checksum(manifest)}, indent=1)
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
        if _checksum(described) != manifest.get("checksum"):
            raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
        return described

    def read_content(self, folder: Path, manifest: dict[str, Any]) -> bytes:
        """The model's file that the manifest names.

        Raises
        ------
        BundleError
            If it cannot be read, or is altered.
        """
        path = folder / Path(manifest["file"]).name
        try:
            content = path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error}; train again, or copy the whole folder") from error
        if hashlib.sha256(content).hexdigest() != manifest["sha256"]:
            raise BundleError(f"{path} was altered since it was trained (its checksum differs); train again")
        return content

    def _remove_unnamed(self, folder: Path) -> None:
        """Remove the files of models that were replaced, or were never finished."""
        try:
            kept = self.read_manifest(folder)["file"]
        except BundleError:
            if (folder / self.manifest).exists():
                return  # of another version perhaps, and not ours to clear away
            kept = ""
        partial = [path for path in folder.glob(".*.part") if is_stale_part(path)]
        for path in (*folder.glob(f"{self.stem}-*{self.ending}"), *partial):
            if path.name != kept:
                with suppress(OSError):  # what is left over does no harm
                    path.unlink()


def _checksum(described: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
