"""Values of a fit as they are read."""

from dataclasses import replace

from report_samples import fit

from hpc_mlsm.report.fit_values import fitted_values


def read(parameters, **more):
    found = fitted_values(replace(fit(parameters=parameters), **more))
    return [(str(name), value.replace("\u202f", " ")) for name, value in found]


def test_equal_cell_lengths_share_a_line():
    lengths = {"a": (3.87664, "Å"), "b": (3.87664, "angstrom"), "c": (5.8851, "Å")}
    assert read(lengths) == [("<i>a</i> = <i>b</i>", "3.8766 Å"), ("<i>c</i>", "5.8851 Å")]


def test_other_values_that_happen_to_be_equal_do_not():
    values = {"u_iso": (0.005, "Å²"), "q_damp": (0.005, "Å⁻¹")}
    assert [value for _, value in read(values)] == ["0.005 Å²", "0.005 Å⁻¹"]


def test_a_value_at_its_bound_of_zero_reads_zero():
    assert read({"delta2": (1.1e-10, "Å²")}) == [("<i>δ</i><sub>2</sub>", "0 Å²")]


def test_values_with_known_uncertainties_are_rounded_to_them():
    lengths = {"a": (5.57864, "Å"), "b": (5.57864, "Å"), "c": (12.2982, "Å"), "u_iso": (0.00644, "Å²")}
    known = {"a": 0.00138, "b": 0.00138, "c": float("nan"), "u_iso": 0.00015}
    expected = ["5.5786(14) Å", "12.2982 Å", "0.00644(15) Å²"]
    assert [value for _, value in read(lengths, uncertainties=known)] == expected
