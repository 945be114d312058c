"""What is drawn fills its ranges evenly, obeys symmetry, and depends on structure and seed alone."""

from dataclasses import replace

import numpy as np
import pytest
from scattering_crystals import BADDELEYITE, CORUNDUM_RHOMBOHEDRAL, NICKEL, RUTILE

from hpc_mlsm.scattering.powder.settings import SAMPLED, PowderSettings
from hpc_mlsm.scattering.powder.variants import base_powder_variant, sample_powder_variants

VARIED = PowderSettings(
    variants=60,
    strain=0.02,
    u_change=(-0.002, 0.01),
    caglioti_u=(0.0, 0.02),
    caglioti_v=(-0.001, 0.0),
    caglioti_w=(0.0025, 0.04),
    size=(100.0, 1000.0),
    microstrain=(0.0, 0.002),
    exponent=(1.0, 5.0),
    march=(0.5, 2.0),
    march_axes=((0, 0, 1), (1, 0, 0), (1, 1, 1)),
    zero_shift=(-0.1, 0.1),
    sample_shift=(-0.1, 0.1),
    background=(0.0, 0.2),
    slope=(-1.0, 0.5),
    bend=(-0.5, 0.5),
    twist=(-0.2, 0.2),
    hump=(0.0, 0.1),
    hump_centre=(15.0, 35.0),
    hump_width=(5.0, 20.0),
    impurity=(0.0, 0.1),
    impurity_lines=(0.0, 4.0),
    counts=(100.0, 1e5),
)
TRANSFORMED = {"size": lambda x: 1 / x, "march": np.log, "counts": np.log, "caglioti_w": np.sqrt}


@pytest.mark.parametrize("name", SAMPLED)
def test_every_parameter_has_one_value_in_each_of_as_many_equal_parts_of_its_range(name: str) -> None:
    drawn = sample_powder_variants(RUTILE, VARIED)
    as_drawn = TRANSFORMED.get(name, lambda x: x)
    values = as_drawn(getattr(drawn.conditions, name))
    low, high = sorted(as_drawn(np.array(getattr(VARIED, name))))
    parts = np.floor((values - low) / (high - low) * len(drawn)).astype(int)
    assert sorted(parts) == list(range(len(drawn)))


def test_lengths_that_symmetry_ties_are_strained_alike() -> None:
    for structure, distinct in ((NICKEL, 1), (CORUNDUM_RHOMBOHEDRAL, 1), (RUTILE, 2), (BADDELEYITE, 3)):
        scales = sample_powder_variants(structure, VARIED).axis_scales
        assert {len(np.unique(row)) for row in scales} == {distinct}
        assert np.abs(scales - 1).max() <= 0.02


def test_every_axis_of_texture_is_drawn() -> None:
    axes = sample_powder_variants(RUTILE, VARIED).conditions.march_axis
    assert set(axes) == {0.0, 1.0, 2.0}


def test_a_structure_draws_the_same_again_and_another_structure_or_seed_differently() -> None:
    alone = sample_powder_variants(RUTILE, VARIED)
    sample_powder_variants(NICKEL, VARIED)
    again = sample_powder_variants(RUTILE, VARIED)
    np.testing.assert_array_equal(alone.axis_scales, again.axis_scales)
    np.testing.assert_array_equal(alone.conditions.counts, again.conditions.counts)
    for other in (
        sample_powder_variants(replace(RUTILE, id="another"), VARIED),
        sample_powder_variants(RUTILE, replace(VARIED, seed=1)),
    ):
        assert not np.any(alone.conditions.counts == other.conditions.counts)


def test_without_ranges_all_variants_are_the_base_pattern() -> None:
    drawn, base = sample_powder_variants(RUTILE, PowderSettings(variants=3)), base_powder_variant(PowderSettings())
    for name in SAMPLED:
        assert np.all(getattr(drawn.conditions, name) == getattr(base.conditions, name)), name
    assert np.all(drawn.axis_scales == 1)


def test_the_base_is_undisturbed_and_as_wide_as_the_middle_of_the_range() -> None:
    found = base_powder_variant(VARIED).conditions
    assert found.caglioti_w == np.mean(VARIED.caglioti_w)
    assert found.exponent == 3.0
    assert found.march == 1.0
    for name in (
        "size",
        "microstrain",
        "zero_shift",
        "sample_shift",
        "background",
        "hump",
        "impurity",
        "counts",
        "u_change",
    ):
        assert getattr(found, name) == 0.0, name


def test_parameters_come_with_their_units() -> None:
    parameters = sample_powder_variants(RUTILE, VARIED).parameters()
    assert parameters["size"][0] == "angstrom"
    assert parameters["caglioti_w"][0] == "degree^2"
    assert parameters["scale_a"][0] == parameters["march"][0] == ""
    assert set(SAMPLED) | {"scale_a", "scale_b", "scale_c", "march_axis"} == set(parameters)
    assert {len(values) for _, values in parameters.values()} == {60}
