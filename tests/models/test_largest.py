"""The largest of each row, as a stable sort finds them."""

import numpy as np
import pytest

from hpc_mlsm.models.largest import largest


@pytest.mark.parametrize("k", [1, 2, 5, 30, 100])
def test_they_come_as_from_a_stable_sort(k: int) -> None:
    values = np.random.default_rng(0).integers(0, 12, (50, 30)).astype(np.float32)
    assert np.array_equal(largest(values, k), np.argsort(-values, axis=1, kind="stable")[:, :k])


def test_nothing_is_found_in_nothing() -> None:
    assert largest(np.zeros((0, 4), np.float32), 3).shape == (0, 3)
    assert largest(np.zeros((4, 0), np.float32), 3).shape == (4, 0)
    assert largest(np.zeros((4, 3), np.float32), 0).shape == (4, 0)
