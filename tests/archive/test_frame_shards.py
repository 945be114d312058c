"""Frames on the model's grid as shards: read back as written, damage found, series read across borders."""

import numpy as np
import pytest

from hpc_mlsm.archive.frame_shards import (
    FrameSeries,
    PreparedFrames,
    read_frame_shard,
    shard_path,
    write_frame_shard,
)
from hpc_mlsm.archive.frames import FrameReject
from hpc_mlsm.errors import StoreError

GRID = np.arange(10.0)


def _shard(folder, start, frames, rejects=()):
    path = shard_path(folder, start, start + 10, "content", GRID.tobytes())
    values = np.array(frames, dtype=np.float32)[:, None] + GRID.astype(np.float32)
    write_frame_shard(path, PreparedFrames(np.array(frames, dtype=np.int64), values, tuple(rejects)))
    return path


def test_a_shard_comes_back_as_it_was_written_and_equal_content_gives_equal_bytes(tmp_path):
    reject = FrameReject(4, "not_finite", "frame 4: NaN, reduce it again")
    path = _shard(tmp_path, 0, [0, 1, 3], [reject])
    found = read_frame_shard(path)
    np.testing.assert_array_equal(found.frames, [0, 1, 3])
    assert found.rejects == (reject,)
    before = path.read_bytes()
    assert _shard(tmp_path, 0, [0, 1, 3], [reject]).read_bytes() == before


@pytest.mark.parametrize("harm", ["cut", "flip", "gone", "other"])
def test_a_damaged_shard_is_refused_with_what_to_do(tmp_path, harm):
    path = _shard(tmp_path, 0, list(range(9)))
    content = bytearray(path.read_bytes())
    if harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[len(content) // 2] ^= 255
        path.write_bytes(content)
    elif harm == "gone":
        path.unlink()
    else:
        path.write_text("something else")
    if harm == "flip":  # of a byte that nothing depends on, nothing need be said
        try:
            found = read_frame_shard(path)
        except StoreError:
            return
        np.testing.assert_array_equal(found.frames, np.arange(9))
        return
    with pytest.raises(StoreError, match="made anew"):
        read_frame_shard(path)


def test_a_series_is_read_across_shards_and_leaves_out_what_cannot_be_used(tmp_path):
    series = FrameSeries([_shard(tmp_path, 0, [0, 2, 3]), _shard(tmp_path, 10, []), _shard(tmp_path, 20, [21, 22])])
    assert len(series) == 5
    np.testing.assert_array_equal(series.frames, [0, 2, 3, 21, 22])
    np.testing.assert_array_equal(series.rows(0, 5)[:, 0], [0, 2, 3, 21, 22])
    np.testing.assert_array_equal(series.rows(2, 4)[:, 0], [3, 21])
    np.testing.assert_array_equal(series.rows(4, 5)[:, 0], [22])


def test_other_content_and_another_grid_have_other_names(tmp_path):
    names = {
        shard_path(tmp_path, 0, 10, content, grid.tobytes()).name
        for content in ("one", "other")
        for grid in (GRID, GRID + 1)
    }
    assert len(names) == 4
