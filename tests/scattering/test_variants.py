from dataclasses import replace

import numpy as np
import pytest
from scattering_crystals import BADDELEYITE, CORUNDUM_RHOMBOHEDRAL, MARCASITE, NICKEL, RUTILE, TRICLINIC, WURTZITE

from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.scattering.variants import base_variant, sample_variants
from hpc_mlsm.structures.structure import Structure

VARIED = PdfSettings(
    variants=50,
    delta2=(0.0, 3.0),
    q_min=(0.5, 1.0),
    q_max=(18.0, 25.0),
    q_damp=(0.01, 0.06),
    q_broad=(0.0, 0.03),
    diameter=(20.0, 100.0),
)


def test_every_parameter_has_one_value_in_each_of_as_many_equal_parts_of_its_range() -> None:
    drawn = sample_variants(BADDELEYITE, VARIED)
    columns = {
        name: getattr(drawn.conditions, name) for name in ("u_iso", "delta2", "q_min", "q_max", "q_damp", "q_broad")
    }
    limits = {name: getattr(VARIED, name) for name in columns}
    columns |= dict(zip("abc", drawn.axis_scales.T, strict=True))
    limits |= dict.fromkeys("abc", (1 - VARIED.strain, 1 + VARIED.strain))
    # Sizes are spread evenly in the inverse.
    columns["diameter"], limits["diameter"] = 1 / drawn.conditions.diameter, (1 / 100.0, 1 / 20.0)
    for name, values in columns.items():
        low, high = limits[name]
        parts = np.floor((values - low) / (high - low) * len(drawn)).astype(int)
        assert sorted(parts) == list(range(len(drawn))), name


@pytest.mark.parametrize(
    ("structure", "tied"),
    [
        (NICKEL, [(0, 1), (0, 2)]),
        (CORUNDUM_RHOMBOHEDRAL, [(0, 1), (0, 2)]),
        (RUTILE, [(0, 1)]),
        (WURTZITE, [(0, 1)]),
        (MARCASITE, []),
        (BADDELEYITE, []),
        (TRICLINIC, []),
    ],
)
def test_lengths_that_symmetry_ties_are_strained_alike_and_no_others(
    structure: Structure, tied: list[tuple[int, int]]
) -> None:
    scales = sample_variants(structure, PdfSettings(variants=30)).axis_scales
    for i, j in [(0, 1), (0, 2), (1, 2)]:
        alike = np.array_equal(scales[:, i], scales[:, j])
        assert alike == ((i, j) in tied or ((i, j) == (1, 2) and len(tied) == 2))


def test_parameters_without_a_range_keep_their_value() -> None:
    drawn = sample_variants(RUTILE, PdfSettings(variants=7, q_damp=(0.04, 0.04), delta1=(0.5, 0.5)))
    assert np.all(drawn.conditions.q_damp == 0.04)
    assert np.all(drawn.conditions.delta1 == 0.5)
    assert np.all(drawn.conditions.q_max == 25.0)
    assert np.all(drawn.conditions.diameter == 0.0)


def test_a_structure_draws_the_same_whatever_is_drawn_before_and_another_structure_differently() -> None:
    alone = sample_variants(RUTILE, VARIED)
    sample_variants(NICKEL, VARIED)
    again = sample_variants(RUTILE, VARIED)
    np.testing.assert_array_equal(alone.axis_scales, again.axis_scales)
    np.testing.assert_array_equal(alone.conditions.diameter, again.conditions.diameter)
    renamed = sample_variants(replace(RUTILE, id="another"), VARIED)
    reseeded = sample_variants(RUTILE, PdfSettings(variants=50, seed=1))
    assert not np.any(alone.conditions.u_iso == renamed.conditions.u_iso)
    assert not np.any(alone.conditions.u_iso == reseeded.conditions.u_iso)


RECORDED_SCALES = [1.005019792664424, 1.005019792664424, 0.9781353274827143]
RECORDED_U_ISO = [0.024718598648248474, 0.017608660668080724, 0.011949583585937291, 0.005607877914277449]


def test_what_is_drawn_does_not_change_from_release_to_release() -> None:
    drawn = sample_variants(RUTILE, PdfSettings(variants=4))
    np.testing.assert_allclose(drawn.axis_scales[0], RECORDED_SCALES, rtol=1e-12)
    np.testing.assert_allclose(drawn.conditions.u_iso, RECORDED_U_ISO, rtol=1e-12)


def test_a_range_of_diameters_from_zero_begins_without_a_limit() -> None:
    drawn = sample_variants(RUTILE, PdfSettings(variants=200, diameter=(0.0, 40.0)))
    assert drawn.conditions.diameter.min() >= 40.0
    assert drawn.conditions.diameter.max() > 40.0 * 100


def test_the_base_is_unstrained_and_in_the_middle_of_the_ranges() -> None:
    base = base_variant(VARIED)
    assert len(base) == 1
    assert np.all(base.axis_scales == 1.0)
    assert base.conditions.u_iso == VARIED.base_u_iso
    assert base.conditions.q_max == 21.5
    assert base.conditions.delta2 == 1.5
    assert base.conditions.diameter == 0.0
