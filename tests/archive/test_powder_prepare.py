"""Measured powder patterns on a model's grid are compared with peaks whose places follow from Bragg's law."""

from pathlib import Path

import numpy as np
import pytest

from hpc_mlsm.archive.k_alpha import strip_k_alpha2
from hpc_mlsm.archive.pattern import Pattern
from hpc_mlsm.archive.powder_files import read_powder
from hpc_mlsm.archive.powder_prepare import prepare_powder, subtract_and_scale
from hpc_mlsm.archive.powder_settings import MeasuredPowderSettings
from hpc_mlsm.archive.wavelengths import ANODES
from hpc_mlsm.errors import PatternError
from hpc_mlsm.models.peak_features import find_peak_table

GRID = np.round(0.02 * np.arange(4501), 6)
CU = 1.54056
D = np.array([3.9, 3.1, 2.7, 2.35, 2.1, 1.9, 1.75, 1.62, 1.5, 1.4, 1.31, 1.24])
NO_BACKGROUND = MeasuredPowderSettings(background="none")


def angles(wavelength: float, d: np.ndarray = D) -> np.ndarray:
    """2θ of the peaks by Bragg's law."""
    return 2 * np.degrees(np.arcsin(wavelength / (2 * d)))


def peaks_at(x: np.ndarray, centres: np.ndarray, width: float = 0.06, height: float = 1000.0) -> np.ndarray:
    return height * np.exp(-(((x[:, None] - centres) / width) ** 2)).sum(axis=1)


def measured(
    x: np.ndarray, y: np.ndarray, axis: str | None = "two_theta", unit: str | None = "degree", **metadata: float | str
) -> Pattern:
    return Pattern("p", x, y, axis, unit, metadata=dict(metadata), source="p.xy")  # type: ignore[arg-type]


def found(values: np.ndarray) -> np.ndarray:
    table = find_peak_table(values[None], GRID)
    return table.positions[0, : table.count[0]]


@pytest.mark.parametrize("wavelength", [CU, 0.709317, 1.788996, 0.4])
def test_peaks_of_any_wavelength_come_to_their_places_at_the_models(wavelength: float) -> None:
    x = np.arange(angles(wavelength)[0] - 2, angles(wavelength)[-1] + 3, 0.004)
    y = peaks_at(x, angles(wavelength), width=0.06 * wavelength / CU)
    prepared = prepare_powder(measured(x, y, wavelength=wavelength), GRID, CU, NO_BACKGROUND)
    np.testing.assert_allclose(found(prepared.values), angles(CU)[:10], atol=0.011)  # half a step of the grid
    assert (prepared.values.min(), prepared.values.max()) == (0.0, 1.0)
    assert prepared.peaks == 12
    assert any("converted from" in note for note in prepared.notes) == (wavelength != CU)


def test_q_and_radians_give_the_pattern_that_degrees_give() -> None:
    x = np.arange(10.0, 90.0, 0.01)
    y = peaks_at(x, angles(CU))
    expected = prepare_powder(measured(x, y, wavelength=CU), GRID, CU, NO_BACKGROUND)
    q = 4 * np.pi * np.sin(np.radians(x / 2)) / CU
    labelled = prepare_powder(measured(q, y, "q", "1/angstrom"), GRID, CU, NO_BACKGROUND)
    nanometres = prepare_powder(measured(10 * q, y, "q", "1/nm"), GRID, CU, NO_BACKGROUND)
    told = MeasuredPowderSettings(background="none", axis="q")
    unlabelled = prepare_powder(measured(q, y, None, None), GRID, CU, told)
    for other in (labelled, nanometres, unlabelled):
        np.testing.assert_allclose(other.values, expected.values, atol=1e-9)
    radians = MeasuredPowderSettings(background="none", axis="radians", wavelength=CU)
    other = prepare_powder(measured(np.radians(x), y, None, None), GRID, CU, radians)
    np.testing.assert_allclose(other.values, expected.values, atol=1e-9)


@pytest.mark.parametrize(
    ("x", "axis", "metadata", "reason"),
    [
        (np.radians(np.arange(10, 90, 0.02)), None, {}, "looks_like_radians"),
        (np.radians(np.arange(10, 90, 0.02)), "two_theta", {"x_label": "2theta"}, "looks_like_radians"),
        (np.arange(0.5, 6.0, 0.002), None, {}, "looks_like_q"),
        (np.arange(0.5, 20.0, 0.005), None, {}, "looks_like_q"),
        (np.arange(1000.0, 9000.0, 2.0), None, {}, "wrong_axis"),
        (np.arange(-3.0, 90.0, 0.02), None, {}, "wrong_axis"),
        (np.arange(0.0, 30.0, 0.01), "r", {}, "wrong_axis"),
    ],
)
def test_an_abscissa_that_cannot_be_degrees_is_named_and_options_are_offered(
    x: np.ndarray, axis: str | None, metadata: dict[str, str], reason: str
) -> None:
    with pytest.raises(PatternError) as caught:
        prepare_powder(measured(x, 1 + np.sin(x) ** 2, axis, None, **metadata), GRID, CU)
    assert caught.value.reason == reason
    assert "p.xy" in caught.value.detail
    if reason.startswith("looks"):
        assert "axis = degrees, radians or q" in caught.value.detail


def test_a_short_wavelength_makes_a_short_range_of_degrees_plausible() -> None:
    x = np.arange(1.0, 20.0, 0.005)
    prepared = prepare_powder(measured(x, peaks_at(x, angles(0.2), 0.01), None, None, wavelength=0.2), GRID, CU)
    assert prepared.peaks == 12


def test_a_label_in_radians_is_believed() -> None:
    x = np.arange(10.0, 90.0, 0.01)
    pattern = measured(np.radians(x), peaks_at(x, angles(CU)), "two_theta", None, x_label="2theta (rad)")
    np.testing.assert_allclose(found(prepare_powder(pattern, GRID, CU).values)[:10], angles(CU)[:10], atol=0.011)


def test_what_was_not_measured_is_zero_and_said() -> None:
    x = np.arange(20.0, 60.0, 0.02)
    prepared = prepare_powder(measured(x, 50 + peaks_at(x, angles(CU)), wavelength=CU), GRID, CU, NO_BACKGROUND)
    assert prepared.covered == pytest.approx((20.0, 59.98))
    assert not prepared.values[GRID < 19.98].any()
    assert not prepared.values[GRID > 60.0].any()
    assert "partly_covered" in prepared.flags
    assert any("filled with zero: 0 to 20°, 59.98 to 90°" in note for note in prepared.notes)


def test_fewer_than_ten_peaks_are_flagged_and_not_refused() -> None:
    x = np.arange(20.0, 40.0, 0.02)
    prepared = prepare_powder(measured(x, peaks_at(x, angles(CU)), wavelength=CU), GRID, CU)
    assert "few_peaks" in prepared.flags
    assert prepared.peaks == ((angles(CU) > 20) & (angles(CU) < 40)).sum()
    assert any("doubtful" in note for note in prepared.notes)


@pytest.mark.parametrize(("method", "hump"), [("snip", 150.0), ("arpls", 0.0)])
def test_a_known_background_is_taken_away(method: str, hump: float) -> None:
    rng = np.random.default_rng(4)
    x = np.arange(5.0, 90.0, 0.02)
    signal = peaks_at(x, angles(CU), height=1e5)
    background = 4e4 * np.exp(-x / 25) + 100 * hump * np.exp(-(((x - 25) / 12) ** 2)) + 6e3
    counts = rng.poisson(signal + background).astype(float)
    settings = MeasuredPowderSettings(background=method)  # type: ignore[arg-type]
    prepared = prepare_powder(measured(x, counts, wavelength=CU), GRID, CU, settings)
    expected = np.zeros(len(GRID))
    within = (x[0] - 0.01 < GRID) & (x[-1] + 0.01 > GRID)
    expected[within] = signal / signal.max()
    # 2 % of the highest peak, where the background is up to 40 % of it and the noise 0.4 %.
    assert np.abs(prepared.values - expected).max() < 0.02


def test_noise_on_a_background_makes_next_to_no_peaks() -> None:
    rng = np.random.default_rng(5)
    x = np.arange(5.0, 90.0, 0.02)
    y = rng.poisson(300 + peaks_at(x, angles(CU), height=3000.0)).astype(float)
    prepared = prepare_powder(measured(x, y, wavelength=CU), GRID, CU)
    # Without care for noise there are hundreds: it alone makes one maximum every three points.
    assert len(D) <= prepared.peaks <= len(D) + 3
    assert prepared.flags == ()


@pytest.mark.parametrize("step", [0.01, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15])
def test_noise_makes_next_to_no_peaks_however_coarse_a_file_is(step: float) -> None:
    rng = np.random.default_rng(6)
    x = np.arange(10.0, 89.9, step)
    clean = 0.2 + peaks_at(x, angles(CU), width=0.15, height=1.0)
    noisy = [clean + rng.normal(0.0, 0.01, len(x)) for _ in range(5)]
    counts = np.array([prepare_powder(measured(x, y), GRID, CU).peaks for y in noisy])
    assert counts.min() >= len(D)
    # By neighbouring points of the grid alone there are more than a hundred from 0.04° on.
    assert counts.mean() < len(D) + 3


@pytest.mark.parametrize("anode", ["Cu", "Co", "Mo"])
def test_k_alpha2_is_taken_away_to_half_a_percent(anode: str) -> None:
    lines = ANODES[anode]
    x = np.arange(10.0, 120.0, 0.01)
    d = D * lines.k_alpha1 / CU
    alone = peaks_at(x, angles(lines.k_alpha1, d))
    # The second line has its own, slightly wider angles: each peak is mapped, width and all, to Q·λ2/λ1.
    q = np.sin(np.radians(x / 2))
    ratio = lines.k_alpha2 / lines.k_alpha1
    second = peaks_at(2 * np.degrees(np.arcsin(q / ratio)), angles(lines.k_alpha1, d))
    stripped = strip_k_alpha2(q, alone + 0.5 * second, ratio, 0.5)
    # A straight line through points h apart is off by up to h²/8·|y''| = 0.01²/8·2/0.06² = 0.7 % of the peak, halved
    # as it comes in with the second line only.
    assert np.abs(stripped - alone).max() < 5e-3 * alone.max()
    pattern = measured(x, 20 + alone + 0.5 * second, wavelength=lines.k_alpha1)
    settings = MeasuredPowderSettings(background="arpls", strip_k_alpha2=True)
    prepared = prepare_powder(pattern, GRID, lines.k_alpha1, settings)
    assert prepared.peaks == (angles(lines.k_alpha1, d) < 89.9).sum()


def test_a_flat_intensity_loses_the_share_of_the_second_line() -> None:
    stripped = strip_k_alpha2(np.linspace(0.1, 0.7, 500), np.full(500, 30.0), 1.0025, 0.5)
    np.testing.assert_allclose(stripped, 20.0, rtol=1e-5)


def test_k_alpha2_of_an_unknown_source_is_refused() -> None:
    x = np.arange(10.0, 60.0, 0.02)
    with pytest.raises(PatternError, match=r"1 Å is no Kα1 line") as caught:
        prepare_powder(
            measured(x, peaks_at(x, angles(CU)), wavelength=1.0), GRID, CU, MeasuredPowderSettings(strip_k_alpha2=True)
        )
    assert caught.value.reason == "no_k_alpha2"


@pytest.mark.parametrize(
    ("x", "change", "reason"),
    [
        (np.arange(10.0, 90.0, 0.02), lambda y: y - 200, "negative"),
        (np.arange(10.0, 90.0, 0.02), lambda y: -y, "negative"),
        (np.arange(10.0, 90.0, 0.5), lambda y: y, "too_coarse"),
        (np.arange(95.0, 140.0, 0.02), lambda y: y, "no_overlap"),
        (np.concatenate([np.arange(10.0, 30.0, 0.02), np.arange(40.0, 90.0, 0.02)]), lambda y: y, "too_coarse"),
        (np.arange(10.0, 90.0, 0.02), lambda y: 0 * y, "empty"),
    ],
)
def test_what_no_model_can_take_is_refused_by_name(x: np.ndarray, change: object, reason: str) -> None:
    y = change(1 + peaks_at(x, angles(CU)))  # type: ignore[operator]
    with pytest.raises(PatternError) as caught:
        prepare_powder(measured(x, y, wavelength=CU), GRID, CU)
    assert caught.value.reason == reason
    assert "p.xy" in caught.value.detail


def test_simulated_patterns_are_treated_as_measured_ones_are() -> None:
    rng = np.random.default_rng(8)
    counts = rng.poisson(200 + peaks_at(GRID, angles(CU), height=4000.0)).astype(float)
    settings = MeasuredPowderSettings()
    prepared = prepare_powder(measured(GRID, counts, wavelength=CU), GRID, CU, settings)
    # Clipping decides ties of whole counts by rounding: the background may differ by a hundredth of a count.
    np.testing.assert_allclose(subtract_and_scale(counts, 0.02, settings), prepared.values, atol=1e-4)
    with pytest.raises(PatternError, match="row 7: no signal is left"):
        subtract_and_scale(np.zeros(100), 0.02, settings, "row 7")


def test_slightly_negative_intensities_are_set_to_zero_and_said() -> None:
    x = np.arange(10.0, 90.0, 0.02)
    prepared = prepare_powder(measured(x, peaks_at(x, angles(CU)) - 5, wavelength=CU), GRID, CU, NO_BACKGROUND)
    assert any("slightly negative" in note for note in prepared.notes)
    assert prepared.values.min() == 0.0


def test_a_missing_wavelength_is_assumed_and_said() -> None:
    x = np.arange(10.0, 90.0, 0.02)
    pattern = measured(x, peaks_at(x, angles(0.9)), None, None)
    assert "the model's 1.54056 Å taken" in prepare_powder(pattern, GRID, CU).notes[0]
    told = prepare_powder(pattern, GRID, CU, MeasuredPowderSettings(wavelength=0.9, background="none"))
    assert "the setting's 0.9 Å taken" in told.notes[0]
    # Peaks 0.02° apart from the grid in the measurement, 0.01° of rounding besides.
    np.testing.assert_allclose(found(told.values), angles(CU)[:10], atol=0.03)


@pytest.mark.parametrize(("name", "strongest"), [("Mn2O3", 32.95), ("TiO2", 25.3)])
def test_real_patterns_keep_their_known_peaks(shared_data: Path, name: str, strongest: float) -> None:
    (pattern,) = read_powder(shared_data / "experimental" / "xrd" / f"{name}.xy")
    prepared = prepare_powder(pattern, GRID, CU)
    assert GRID[int(np.argmax(prepared.values))] == pytest.approx(strongest, abs=0.05)
    assert prepared.covered == (10.0, 90.0)
    assert prepared.flags == ("partly_covered",)
    assert 10 <= prepared.peaks <= 40
