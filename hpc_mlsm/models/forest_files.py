"""Trees on disk: skops instead of pickle, and files that tell whether they are whole."""

import hashlib
import zipfile
from pathlib import Path
from typing import Any

from hpc_mlsm.durable import write_durably
from hpc_mlsm.errors import BundleError

TRUSTED = ("sklearn.tree._tree.Tree",)
"""The one type in a saved forest that skops does not know as safe; all others are refused."""

_DIGEST = 32


def sklearn_version() -> str:
    """Version of scikit-learn."""
    import sklearn

    return str(sklearn.__version__)


def dump(estimator: Any) -> bytes:
    """An estimator in skops' format, compressed."""
    import skops.io

    return bytes(skops.io.dumps(estimator, compression=zipfile.ZIP_DEFLATED, compresslevel=1))


def load(content: bytes) -> Any:
    """An estimator that ``dump`` gave, of trusted types only.

    Raises
    ------
    BundleError
        If it holds other types, or is no such file.
    """
    import skops.io

    try:
        unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))
        if unknown:
            raise BundleError(
                f"a saved forest holds the types {', '.join(unknown)}, which no forest does; do not use it"
            )
        return skops.io.loads(content, trusted=list(TRUSTED))
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError, EOFError) as error:
        raise BundleError(f"a saved forest cannot be read ({type(error).__name__}: {error}); train again") from error


def write_checked(path: Path, content: bytes) -> None:
    """Write content with its checksum behind it.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    write_durably(path, content + hashlib.sha256(content).digest())


def read_checked(path: Path) -> bytes | None:
    """Content that ``write_checked`` wrote; None where the file is missing, cut or altered."""
    try:
        image = path.read_bytes()
    except OSError:
        return None
    content = image[:-_DIGEST]
    return content if hashlib.sha256(content).digest() == image[-_DIGEST:] else None
