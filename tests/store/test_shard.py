import hashlib
import pickle
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from nexusformat.nexus import NXdata, nxload
from storemaker import R, make_content

from hpc_mlsm.errors import StoreError
from hpc_mlsm.store.layout import to_image
from hpc_mlsm.store.schema import Axis, ShardContent
from hpc_mlsm.store.shard import checksum, inspect_shard, read_shard, write_shard

NAME = "shard-1.h5"
STRUCTURES = [("Fe", 3), ("NiO", 0), ("W5O14-β", 140)]


def assert_equal_to_the_bit(found: ShardContent, wanted: ShardContent) -> None:
    for name in ("base", "offsets", "patterns", "variants"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())
    assert found.axis.values.tobytes() == wanted.axis.values.tobytes()
    assert (found.axis.name, found.axis.unit) == (wanted.axis.name, wanted.axis.unit)
    assert found.parameters.keys() == wanted.parameters.keys()
    for name, (unit, values) in wanted.parameters.items():
        assert found.parameters[name][0] == unit
        assert found.parameters[name][1].tobytes() == values.tobytes()
    texts = ("kind", "signal", "signal_unit", "structure_ids", "content_hashes", "config_hash", "engine")
    for name in (*texts, "code_version"):
        assert getattr(found, name) == getattr(wanted, name)


def test_what_is_written_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    content = make_content(STRUCTURES)
    content.patterns[0, :5] = [0.0, -0.0, 1e-45, -3.4028235e38, 1.1754944e-38]  # zeros, denormals and the extremes
    record = write_shard(tmp_path, NAME, content)
    assert_equal_to_the_bit(read_shard(tmp_path / NAME), content)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    assert (record.rows, record.n_structures, record.config_hash) == (143, 3, "config-1")
    assert [(row.id, row.first_row, row.n_rows, row.position) for row in record.structures] == [
        ("Fe", 0, 3, 0),
        ("NiO", 3, 0, 1),
        ("W5O14-β", 3, 140, 2),
    ]


def test_a_powder_shard_without_any_variants_comes_back(tmp_path: Path) -> None:
    axis = Axis("two_theta", "degree", R)
    content = replace(make_content([("Fe", 0)]), kind="powder", axis=axis, signal="intensity", signal_unit="")
    write_shard(tmp_path, NAME, content)
    assert_equal_to_the_bit(read_shard(tmp_path / NAME), content)


def test_the_record_is_that_of_the_file_and_travels(tmp_path: Path) -> None:
    record = write_shard(tmp_path, NAME, make_content(STRUCTURES))
    data = (tmp_path / NAME).read_bytes()
    assert record.size == len(data)
    assert record.checksum == hashlib.blake2b(data, digest_size=16).hexdigest() == checksum(tmp_path / NAME)
    assert inspect_shard(tmp_path / NAME) == record == pickle.loads(pickle.dumps(record))


def test_equal_contents_give_equal_files_at_any_time() -> None:
    first = to_image(make_content(STRUCTURES))
    time.sleep(1.1)  # HDF5 before 2.0 keeps times of creation, in seconds, unless told otherwise
    np.ones((400, 301), np.float32)  # other garbage in the memory that HDF5 gets next
    assert to_image(make_content(STRUCTURES)) == first


# nexusformat 2.1 sets an array's shape, which numpy 2.5 deprecates: its own business.
@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
def test_the_file_is_valid_nexus_and_opens_as_a_plot_of_the_patterns(tmp_path: Path) -> None:
    content = make_content(STRUCTURES)
    write_shard(tmp_path, NAME, content)
    root = nxload(str(tmp_path / NAME))
    plotted = root.plottable_data
    assert isinstance(plotted, NXdata)
    assert plotted.nxpath == "/entry/patterns"
    np.testing.assert_array_equal(plotted.nxsignal.nxdata, content.patterns)
    np.testing.assert_array_equal(plotted.nxaxes[1].nxdata, R)
    assert plotted.nxsignal.attrs["units"] == "1/angstrom^2"
    assert plotted.nxaxes[1].attrs["units"] == "angstrom"
    np.testing.assert_array_equal(root.entry.base.nxsignal.nxdata, content.base)
    np.testing.assert_array_equal(root.entry.base.nxaxes[1].nxdata, R)
    assert root.entry.parameters.u_iso.attrs["units"] == "angstrom^2"
    classes = {name: group.nxclass for name, group in root.entry.items() if name != "title"}
    assert classes == {
        "patterns": "NXdata",
        "base": "NXdata",
        "parameters": "NXcollection",
        "structures": "NXcollection",
        "process": "NXprocess",
    }


def test_bulk_is_chunked_by_whole_rows_with_checksums_and_metadata_have_them_too(tmp_path: Path) -> None:
    content = make_content([("Fe", 300)])
    write_shard(tmp_path, NAME, content)
    with h5py.File(tmp_path / NAME, "r") as file:
        patterns = file["entry/patterns/G"]
        assert patterns.chunks[1] == len(R)
        assert 64 * 1024 <= patterns.chunks[0] * len(R) * 4 <= 256 * 1024
        datasets: list[h5py.Dataset] = []
        file.visititems(lambda _, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
        assert all(dataset.fletcher32 for dataset in datasets if dataset.shape != ())
    # Format specification of HDF5, III.A: byte 8 is the superblock's version; 2 and 3 come with checksums.
    assert (tmp_path / NAME).read_bytes()[8] == 3


def test_text_is_never_of_variable_length_since_nothing_checks_that(tmp_path: Path) -> None:
    write_shard(tmp_path, NAME, make_content(STRUCTURES))
    assert b"GCOL" not in (tmp_path / NAME).read_bytes()  # signature of a global heap collection


def test_a_flipped_bit_or_a_cut_never_gives_another_content(tmp_path: Path) -> None:
    content = make_content([("Fe", 2), ("Ni", 3)])
    image = to_image(content)
    rng = np.random.default_rng(4)
    path = tmp_path / NAME
    refused = 0
    for trial in range(300):
        broken = bytearray(image)
        if trial % 6 == 0:
            del broken[rng.integers(0, len(image)) :]
        else:
            broken[rng.integers(0, len(image))] ^= 1 << rng.integers(0, 8)
        path.write_bytes(broken)
        try:
            found = read_shard(path)
        except StoreError:
            refused += 1
        else:  # some bytes mean nothing: gaps between what HDF5 allocates
            assert_equal_to_the_bit(found, content)
    assert refused > 250


def test_an_empty_a_foreign_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / NAME
    with pytest.raises(StoreError, match=r"shard-1.h5 is missing.*simulate"):
        read_shard(path)
    path.write_bytes(b"")
    with pytest.raises(StoreError, match=r"shard-1.h5 is damaged.*simulate"):
        inspect_shard(path)
    path.write_text("not at all HDF5")
    with pytest.raises(StoreError, match=r"shard-1\.h5 is damaged"):
        inspect_shard(path)
    with h5py.File(path, "w") as file:
        file["data"] = np.arange(3)
    with pytest.raises(StoreError, match="not a pattern shard"):
        read_shard(path)


def test_another_schema_version_is_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("hpc_mlsm.store.layout.SCHEMA_VERSION", 7)
        write_shard(tmp_path, NAME, make_content(STRUCTURES))
    with pytest.raises(StoreError, match="schema version 7, but this program reads version 1"):
        read_shard(tmp_path / NAME)


def test_a_content_with_a_nan_and_a_wrong_name_leave_no_file(tmp_path: Path) -> None:
    content = make_content(STRUCTURES)
    for name in ("patterns.h5", "shard-1.hdf", "../shard-1.h5", "shard-1.h5.part"):
        with pytest.raises(StoreError, match="cannot be named"):
            write_shard(tmp_path, name, content)
    content.patterns[5, 5] = np.nan
    with pytest.raises(StoreError, match="NaN"):
        write_shard(tmp_path, NAME, content)
    assert not list(tmp_path.iterdir())
