from pathlib import Path

import h5py
import numpy as np
import pytest
from nexusformat.nexus import nxload
from storemaker import CONFIG, WANTED, curve

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.patterns import PatternStore
from hpc_mlsm.store.virtual import write_view


# nexusformat 2.1 sets an array's shape, which numpy 2.5 deprecates: its own business.
@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
@pytest.mark.parametrize("place", ["pdf/view.h5", "view.h5", "elsewhere/view.h5"])
def test_a_view_shows_the_live_rows_of_all_shards_as_one_plot(store: PatternStore, tmp_path: Path, place: str) -> None:
    keep = [pair for pair in WANTED if pair[0] not in ("Zn", "Ag")]
    store.drop(keep, CONFIG)
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    write_view(store, path)
    with h5py.File(path, "r") as file:
        ids = file["entry/structures/id"].asstr()[:]
        offsets = file["entry/structures/offsets"][:]
        patterns = file["entry/patterns/G"][:]
    assert sorted(ids) == store.ids()
    expected = [curve(key, v) for k, key in enumerate(ids) for v in range(offsets[k + 1] - offsets[k])]
    np.testing.assert_array_equal(patterns, expected)
    assert len(patterns) == store.n_rows
    root = nxload(str(path))
    assert root.plottable_data.nxpath == "/entry/patterns"
    assert root.plottable_data.nxsignal.attrs["units"] == "1/angstrom^2"
    assert store.adopt(CONFIG).set_aside == ()  # a view in the store's own folder is no shard


def test_a_view_of_a_lost_shard_shows_nan_there_which_is_why_it_is_for_looking_only(
    store: PatternStore, tmp_path: Path
) -> None:
    path = tmp_path / "view.h5"
    write_view(store, path)
    sorted(store.folder.glob("*.h5"))[0].unlink()
    with h5py.File(path, "r") as file:
        lost = np.isnan(file["entry/patterns/G"][:]).all(axis=1)
    assert 0 < lost.sum() < len(lost)


def test_an_empty_store_has_no_view(tmp_path: Path) -> None:
    with PatternStore.open(tmp_path / "pdf", "a") as store, pytest.raises(StoreError, match="empty"):
        write_view(store, tmp_path / "view.h5")
