"""Settings that make no pattern are refused, with the figure and the remedy."""

from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.config.load import load_config, parse_config
from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.powder.conditions import PowderConditions, Radiation, TwoThetaGrid
from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.settings import PdfSettings

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "run"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Radiation(wavelengths=(0.0,)), "between 0.05 and 10 Å"),
        (lambda: Radiation(wavelengths=(-1.54,)), "between 0.05 and 10 Å"),
        (lambda: Radiation(wavelengths=(float("nan"),)), "between 0.05 and 10 Å"),
        (lambda: Radiation(wavelengths=()), "between 0.05 and 10 Å"),
        (lambda: Radiation(wavelengths=(1.54, 1.544)), "one number above zero for each of the 2 wavelengths"),
        (lambda: Radiation(shares=(0.0,)), "one number above zero"),
        (lambda: Radiation(monochromator=200.0), "2θ from 0 to below 180"),
        (lambda: TwoThetaGrid(20.0, 10.0), "must be larger than two_theta_min"),
        (lambda: TwoThetaGrid(0.0, 180.0), "two_theta_max < 180"),
        (lambda: TwoThetaGrid(0.0, 90.0, 1e-4), "more than 50001 points"),
        (lambda: TwoThetaGrid(0.0, 90.0, 0.0), "step above zero"),
        (lambda: PowderSettings(radiation=Radiation(wavelengths=(0.2,))), "lower two_theta_max"),
        (lambda: PowderSettings(caglioti_w=(0.0001, 0.01)), "at least 1.5 steps"),
        (lambda: PowderSettings(caglioti_v=(-0.05, 0.0)), "at least 1.5 steps"),
        (lambda: PowderSettings(exponent=(0.5, 2.0)), "between 1 .* and 100"),
        (lambda: PowderSettings(march=(0.0, 1.0)), "between 0.1 and 10"),
        (lambda: PowderSettings(march_axes=((0, 0, 0),)), "none of them 0, 0, 0"),
        (lambda: PowderSettings(counts=(0.0, 100.0)), r"\[0, 0\] for patterns without noise"),
        (lambda: PowderSettings(background=(-0.1, 0.1)), "must not be negative"),
        (lambda: PowderSettings(size=(100.0, 50.0)), "lowest ≤ highest"),
        (lambda: PowderSettings(size=(0.0, float("inf"))), "lowest ≤ highest"),
        (lambda: PowderSettings(hump_width=(0.0, 5.0)), "above 0 degrees"),
        (lambda: PowderSettings(largest=0.0, counts=(100.0, 100.0)), "background, impurity or noise"),
        (lambda: PowderSettings(variants=0), "variants = 0"),
        (lambda: PowderSettings(strain=0.6), "strain = 0.6"),
        (lambda: PowderConditions.uniform(2, size=-1.0), "size must be finite"),
        (lambda: PowderConditions.uniform(2, exponent=0.5), "exponent must be at least 1"),
        (lambda: PowderConditions.uniform(0), "at least 1"),
    ],
)
def test_what_makes_no_pattern_is_refused(make, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=said):
        make()


def test_the_grid_of_the_paper_is_the_default() -> None:
    grid = PowderSettings().grid
    assert len(grid) == len(grid.two_theta) == 4501
    np.testing.assert_allclose(grid.two_theta[[0, 1, -1]], [0.0, 0.02, 90.0])
    assert PowderSettings().d_min == pytest.approx(1.54056 / np.sqrt(2))


def test_the_kind_in_a_configuration_chooses_the_settings() -> None:
    assert isinstance(parse_config({}).simulate, PdfSettings)
    assert isinstance(parse_config({"simulate": {"kind": "pdf", "variants": 30}}).simulate, PdfSettings)
    powder = parse_config({"simulate": {"kind": "powder", "size": 100, "march_axes": [[1, 0, 0]]}}).simulate
    assert isinstance(powder, PowderSettings)
    assert powder.size == (100, 100)
    assert powder.march_axes == ((1, 0, 0),)
    with pytest.raises(ConfigError, match=r"simulate\.kind"):
        parse_config({"simulate": {"kind": "neutron"}})
    with pytest.raises(ConfigError, match=r"unknown key simulate\.u_isotropic"):
        parse_config({"simulate": {"kind": "powder", "u_isotropic": 1}})
    with pytest.raises(ConfigError, match=r"simulate\.radiation.*between 0\.05 and 10"):
        parse_config({"simulate": {"kind": "powder", "radiation": {"wavelengths": [20.0]}}})


def test_stages_that_need_pdfs_say_so_of_a_run_with_powder_patterns() -> None:
    with pytest.raises(ConfigError, match=r"needs a run with simulate\.kind: pdf"):
        _ = parse_config({"simulate": {"kind": "powder"}}).pdf


def test_the_configurations_hold_what_their_names_say() -> None:
    paper = load_config(CONFIGS / "powder-paper.yaml").simulate
    assert isinstance(paper, PowderSettings)
    assert paper == PowderSettings()
    undisturbed = ("strain", "background", "hump", "counts", "zero_shift", "sample_shift", "size", "microstrain")
    assert all(getattr(paper, name) in (0.0, (0.0, 0.0)) for name in undisturbed)
    assert paper.march == (1.0, 1.0)
    realistic = load_config(CONFIGS / "powder-realistic.yaml").simulate
    assert isinstance(realistic, PowderSettings)
    assert len(realistic.radiation.wavelengths) == 2
    assert all(getattr(realistic, name)[1] > getattr(realistic, name)[0] for name in undisturbed if name != "strain")
