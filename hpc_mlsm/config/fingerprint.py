"""Short names for "exactly these inputs", by which a stage knows whether its output is up to date."""

import hashlib
import json
from typing import Any

from hpc_mlsm.config.load import plain


def fingerprint(*inputs: Any) -> str:
    """Hash of settings dataclasses, strings, numbers and containers of them; the same in every process."""
    text = json.dumps(plain(list(inputs)), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
