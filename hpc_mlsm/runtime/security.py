"""Who may reach a Dask scheduler: only holders of a certificate that is made for one cluster and kept in private files.

Whoever reaches a scheduler can run code as its owner, so every scheduler that listens on a network demands this
certificate, and encrypts. That goes for loopback too: on a login node it is open to all users.
"""

import os
from pathlib import Path
from typing import Any

from dask.distributed import Security

from hpc_mlsm.errors import ExecutorError

CERTIFICATE = "tls-certificate.pem"
KEY = "tls-key.pem"


def temporary_security() -> Security:
    """Make a certificate and its key for one cluster, in memory only.

    Raises
    ------
    ExecutorError
        If the library ``cryptography`` is missing.
    """
    try:
        return Security.temporary()
    except ImportError as error:
        raise ExecutorError(
            f"workers are reached by TLS only, which needs the library cryptography: {error}. pip install cryptography"
        ) from error


def make_security(folder: Path) -> Security:
    """Make a certificate and its key for one cluster, as files that only their owner can read.

    Parameters
    ----------
    folder : Path
        Folder that scheduler and workers share; made where missing. Files of an earlier cluster are replaced.

    Returns
    -------
    Security
        For scheduler, workers and clients alike; it names the files, so it can be written into job scripts.

    Raises
    ------
    ExecutorError
        If the files cannot be written or the library ``cryptography`` is missing.
    """
    temporary: Any = temporary_security()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write_private(folder / CERTIFICATE, temporary.tls_ca_file)
        _write_private(folder / KEY, temporary.tls_client_key)
    except OSError as error:
        raise ExecutorError(
            f"cannot write the certificate of the workers to {folder}: {error.strerror or error}. It needs a writable "
            "folder that all nodes share"
        ) from error
    return load_security(folder)


def load_security(folder: Path) -> Security:
    """What another process needs to reach a cluster whose certificate is in ``folder``.

    Raises
    ------
    ExecutorError
        If the files are not there.
    """
    certificate, key = str((folder / CERTIFICATE).absolute()), str((folder / KEY).absolute())
    for path in (certificate, key):
        if not os.access(path, os.R_OK):
            raise ExecutorError(f"{path} is missing or not yours: it is there as long as its cluster runs")
    pairs = {f"tls_{role}_cert": certificate for role in ("client", "scheduler", "worker")}
    pairs |= {f"tls_{role}_key": key for role in ("client", "scheduler", "worker")}
    return Security(require_encryption=True, tls_ca_file=certificate, **pairs)


def remove_security(folder: Path) -> None:
    """Remove the files; with them gone, nobody else can come to know them."""
    for name in (CERTIFICATE, KEY):
        (folder / name).unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    # Never readable by others, not even for a moment.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
