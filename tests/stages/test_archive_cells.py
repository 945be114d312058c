"""Refined cells that are far from those of their structures are told, whatever their axes are called."""

from dataclasses import replace

import numpy as np
import pytest
from refinement_samples import STARTER

from hpc_mlsm.models.classes import ClassEntry, MemberEntry
from hpc_mlsm.refinement.gathered import GatheredFits
from hpc_mlsm.stages.archive_cells import cell_changes, cells_note

NICKEL, OXIDE, ZIRCONIA = STARTER["Ni-fcc"], STARTER["NiO-rocksalt"], STARTER["ZrO2-baddeleyite"]
STRUCTURES = {one.id: one for one in (NICKEL, OXIDE, ZIRCONIA)}


def fits(phases: list[str], values: dict[str, list[float]]) -> GatheredFits:
    """Fits with these phases and values."""
    n = len(phases)
    arrays = {key: np.array(one, dtype=float) for key, one in values.items()}
    texts = np.full(n, "", dtype=object)
    flags = np.zeros(n, dtype=bool)
    return GatheredFits(
        texts, np.array(phases, dtype=object), texts, texts, np.full(n, 0.1), ~flags, np.ones(n, dtype=np.int32), flags,
        arrays, arrays, dict.fromkeys(arrays, flags), dict.fromkeys(arrays, "Å"), np.zeros((n, 0), dtype=np.float32),
    )  # fmt: skip


def test_changes_are_those_of_the_length_of_a_cell_of_any_shape() -> None:
    nan, a, m = np.nan, NICKEL.cell.a, ZIRCONIA.cell
    found = cell_changes(
        STRUCTURES,
        fits(
            [NICKEL.id, "", f"{NICKEL.id} + {OXIDE.id}", ZIRCONIA.id],
            {
                "a": [1.02 * a, nan, nan, 1.01 * m.a],
                "b": [1.02 * a, nan, nan, 1.01 * m.b],
                "c": [1.02 * a, nan, nan, 1.01 * m.c],
                "beta": [nan, nan, nan, m.beta],
                **{f"{axis}:1": [nan, nan, 0.99 * a, nan] for axis in "abc"},
            },
        ),
    )
    np.testing.assert_allclose(found, [0.02, nan, -0.01, 0.01], rtol=1e-9)


def test_a_notable_change_is_told_with_the_structure_and_how_far() -> None:
    of_nickel = fits([NICKEL.id] * 3, {axis: [NICKEL.cell.a * f for f in (1.001, 0.97, 0.975)] for axis in "abc"})
    member = MemberEntry(NICKEL.id, "Ni", 225, "F m -3 m", None, frozenset({"Ni"}), "nickel")
    classes = (ClassEntry("one", (member,), NICKEL.id),)
    note = cells_note(cell_changes(STRUCTURES, of_nickel), of_nickel, classes)
    assert note.startswith("2 refined cells are more than 1% in length away")
    assert "Ni (F m -3 m), by -2.8%" in note.replace("−", "-")


@pytest.mark.parametrize("phases", ["", NICKEL.id])
def test_nothing_is_said_of_cells_that_are_as_expected(phases: str) -> None:
    found = replace(fits([phases], {axis: [NICKEL.cell.a if phases else np.nan] for axis in "abc"}))
    assert not cells_note(cell_changes(STRUCTURES, found), found, ())
