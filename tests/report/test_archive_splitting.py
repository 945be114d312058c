"""Cell lengths that are nearly equal are told apart where their uncertainties allow it, and nowhere else."""

from dataclasses import replace

import numpy as np

from hpc_mlsm.report.archive_splitting import splittings
from tests.report.archive_samples import sample_answer


def with_lengths(opening: float):
    """The sample with a length b, of the first phase, that leaves a by ``opening`` in the first of its frames."""
    answer = sample_answer()
    fits = answer.fits
    own = np.flatnonzero(np.isfinite(fits.values["a"]) & (answer.top[:, 0] == 0))
    b = np.where(answer.top[:, 0] == 0, fits.values["a"], np.nan)
    b[own] += 1e-6
    b[own[:20]] -= opening
    values = fits.values | {"b": b}
    errors = fits.uncertainties | {"b": np.where(np.isfinite(b), 3e-4, np.nan)}
    changed = replace(fits, values=values, uncertainties=errors, units=fits.units | {"b": "Å"})
    return replace(answer, fits=changed), own


def test_lengths_that_open_are_told_apart_where_they_did():
    answer, own = with_lengths(0.01)
    (found,) = splittings(answer)
    assert (found.first, found.second, found.frames, found.apart) == ("a", "b", len(own), 20)
    assert found.where.startswith(f"{answer.axis.values[own[0]]:.5g}")
    assert found.where.endswith("min")


def test_a_difference_within_the_uncertainties_is_none():
    answer, _ = with_lengths(0.0015)
    assert [one.apart for one in splittings(answer)] == [0]


def test_lengths_that_symmetry_ties_and_those_that_are_far_from_each_other_are_not_looked_at():
    answer = sample_answer()
    tied = answer.fits.values | {"b": answer.fits.values["a"]}
    errors = answer.fits.uncertainties | {"b": answer.fits.uncertainties["a"]}
    fits = replace(answer.fits, values=tied, uncertainties=errors, units=answer.fits.units | {"b": "Å"})
    assert not splittings(replace(answer, fits=fits))
    assert not splittings(replace(answer, fits=None))
