"""What several test folders share: real data where it is, CIFs of starter structures, and one small finished run."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CIFs and measured patterns, which is not part of the project."""
    if not SHARED.is_dir():
        pytest.skip(f"the collection of real data is not at {SHARED}")
    return SHARED
