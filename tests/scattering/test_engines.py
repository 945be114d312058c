import pickle

import numpy as np
import pytest
from scattering_crystals import NICKEL, RUTILE

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.engines import get_engine, native_engine, simulate_structure
from hpc_mlsm.scattering.settings import PdfSettings
from hpc_mlsm.scattering.variants import base_variant, sample_variants


def test_a_simulated_structure_is_its_base_and_its_variants_with_their_parameters() -> None:
    settings = PdfSettings(variants=5, q_max=(20.0, 25.0), delta2=(0.0, 3.0))
    simulated = simulate_structure(RUTILE, settings)
    variants = sample_variants(RUTILE, settings)
    base = base_variant(settings)
    assert simulated.structure_id == RUTILE.id
    assert simulated.content_hash == RUTILE.content_hash
    assert simulated.patterns.shape == (5, 301)
    assert simulated.patterns.dtype == simulated.base.dtype == np.float32
    # Computed together or apart, patterns are the same to single precision.
    for found, drawn in ((simulated.patterns, variants), (simulated.base[None], base)):
        expected = native_engine(RUTILE, drawn.axis_scales, drawn.conditions, settings.grid)
        np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    units = {name: unit for name, (unit, _) in simulated.parameters.items()}
    assert units["u_iso"] == "angstrom^2"
    assert units["scale_a"] == ""
    np.testing.assert_array_equal(simulated.parameters["scale_c"][1], variants.axis_scales[:, 2])
    np.testing.assert_array_equal(simulated.parameters["q_max"][1], variants.conditions.q_max)
    assert {len(values) for _, values in simulated.parameters.values()} == {5}


def test_simulating_twice_gives_the_same_bits_and_survives_pickling() -> None:
    settings = PdfSettings(variants=3)
    first = simulate_structure(NICKEL, settings)
    again = pickle.loads(pickle.dumps(simulate_structure(NICKEL, settings)))
    np.testing.assert_array_equal(first.patterns, again.patterns)
    np.testing.assert_array_equal(first.base, again.base)


def test_an_unknown_engine_is_refused() -> None:
    assert get_engine("native") is native_engine
    with pytest.raises(ConfigError, match="unknown"):
        get_engine("debye")  # type: ignore[arg-type]
