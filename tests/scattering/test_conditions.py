import numpy as np
import pytest

from hpc_mlsm.errors import ConfigError
from hpc_mlsm.scattering.conditions import PdfConditions, PdfGrid


@pytest.mark.parametrize(
    ("grid", "length"),
    [(PdfGrid(), 301), (PdfGrid(1.0, 2.0, 0.25), 5), (PdfGrid(0.0, 1.0, 0.3), 4), (PdfGrid(0.0, 200.0, 0.01), 20_001)],
)
def test_a_grid_has_both_ends_where_the_step_divides_the_range(grid: PdfGrid, length: int) -> None:
    assert len(grid) == length == len(grid.r)
    assert grid.r[0] == grid.r_min
    assert grid.r_max - grid.r_step < grid.r[-1] <= grid.r_max + 1e-9
    np.testing.assert_allclose(np.diff(grid.r), grid.r_step)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((5.0, 5.0, 0.1), "r_max"),
        ((5.0, 4.0, 0.1), "r_max"),
        ((-1.0, 4.0, 0.1), "not negative"),
        ((0.0, 4.0, 0.0), "above zero"),
        ((0.0, 4.0, -0.1), "above zero"),
        ((0.0, np.nan, 0.1), "finite"),
        ((0.0, np.inf, 0.1), "finite"),
        ((0.0, 300.0, 0.1), "200"),
        ((0.0, 100.0, 0.001), "larger step"),
    ],
)
def test_an_impossible_grid_is_refused(limits: tuple[float, float, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PdfGrid(*limits)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"u_iso": 0.0}, "u_iso"),
        ({"u_iso": np.nan}, "u_iso"),
        ({"delta2": -0.1}, "delta2"),
        ({"q_max": np.inf}, "q_max"),
        ({"q_max": 101.0}, "at most"),
        ({"q_min": 25.0}, "larger than q_min"),
        ({"diameter": -3.0}, "diameter"),
    ],
)
def test_impossible_conditions_are_refused_by_name(values: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PdfConditions.uniform(2, **values)


def test_conditions_are_arrays_of_one_length_and_not_empty() -> None:
    one, two = PdfConditions.uniform(1), PdfConditions.uniform(2)
    with pytest.raises(ConfigError, match="one length"):
        PdfConditions(one.u_iso, *(getattr(two, name) for name in list(PdfConditions.__dataclass_fields__)[1:]))
    with pytest.raises(ConfigError, match="no variants"):
        PdfConditions.uniform(0)


def test_conditions_can_be_joined_and_taken_apart() -> None:
    joined = PdfConditions.uniform(2, u_iso=0.01).followed_by(PdfConditions.uniform(3, u_iso=0.02, q_max=20.0))
    assert len(joined) == 5
    assert joined.u_iso.tolist() == [0.01, 0.01, 0.02, 0.02, 0.02]
    assert joined.take(slice(1, 3)).q_max.tolist() == [25.0, 20.0]
    assert joined.take(np.array([4, 0])).u_iso.tolist() == [0.02, 0.01]
