"""Synthetic archives: the truth is in the file, says that it is no measurement, and does not depend on slices."""

import h5py
import numpy as np
import pytest

from hpc_mlsm.archive.opening import open_archive, read_frames
from hpc_mlsm.archive.synthetic_archive import Crystallisation, phase_curves, synthetic_rows, write_synthetic_archive
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.structures.starter import starter_set


@pytest.fixture(scope="module")
def phases():
    return [next(one for one in starter_set() if one.formula == formula) for formula in ("NaCl", "Si")]


def test_the_file_is_read_as_an_archive_along_time_and_says_that_it_is_synthetic(phases, tmp_path):
    what = Crystallisation(frames=50)
    index = open_archive([str(write_synthetic_archive(tmp_path / "night.h5", phases, what))])
    assert (index.kind, index.n_frames) == ("pdf", 50)
    assert index.synthetic.startswith("simulated, not measured: crystallisation of NaCl")
    assert [(one.name, one.unit) for one in index.variables] == [("time", "min")]
    with h5py.File(tmp_path / "night.h5") as file:
        assert "simulated, not measured" in file["entry/title"].asstr()[()]
        np.testing.assert_allclose(file["entry/truth/shares"][()].sum(axis=1), 1)
    assert read_frames(index, 10, 20).curves[0].y.shape == (10, 301)


def test_shares_go_from_amorphous_to_the_first_and_then_to_the_second_phase():
    shares = Crystallisation(frames=1000).shares()
    assert shares[0, 0] == 1
    assert shares[420].argmax() == 1
    assert shares[-1, 2] > 0.99


def test_frames_are_the_same_in_whatever_slices_they_are_made_and_noise_is_as_asked(phases):
    what = Crystallisation(frames=40, noise=0.1)
    curves = phase_curves(phases, what)
    whole = synthetic_rows(curves, what, 0, 40)
    np.testing.assert_array_equal(
        np.concatenate([synthetic_rows(curves, what, a, a + 8) for a in range(0, 40, 8)]), whole
    )
    quiet = synthetic_rows(curves, Crystallisation(frames=40, noise=0.0), 0, 40)
    assert (whole - quiet).std() == pytest.approx(0.1 * curves[2].std(), rel=0.05)


def test_a_small_particle_damps_what_is_far(phases):
    what = Crystallisation(frames=400, noise=0.0)
    curves = phase_curves(phases, what)
    early, late = synthetic_rows(curves, what, 110, 111)[0], synthetic_rows(curves, what, 200, 201)[0]
    far = slice(200, 300)
    assert np.abs(early[far]).max() < 0.5 * np.abs(late[far]).max()


def test_an_archive_of_one_frame_is_refused():
    with pytest.raises(ConfigError, match="2 at least"):
        Crystallisation(frames=1)
