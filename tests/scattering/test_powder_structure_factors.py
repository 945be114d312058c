"""|F|² against gemmi, against the plain sum over atoms, and in cases that can be written down."""

from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from powder_gemmi import small_structure, squared_by_gemmi
from scattering_crystals import (
    ALL_SYSTEMS,
    ALLOY,
    BADDELEYITE,
    CORUNDUM,
    DIAMOND,
    NICKEL,
    ROCK_SALT,
    RUTILE,
    SPINEL,
    TRICLINIC,
    WURTZITE,
    random_triclinic,
)

from hpc_mlsm.errors import StructureError
from hpc_mlsm.scattering.powder import structure_factors
from hpc_mlsm.scattering.powder.form_factors import dispersion, form_factors
from hpc_mlsm.scattering.powder.reflections import list_reflections
from hpc_mlsm.scattering.powder.scatterers import scatterers
from hpc_mlsm.scattering.powder.structure_factors import squared_structure_factors
from hpc_mlsm.structures.cif import read_cif
from hpc_mlsm.structures.structure import Site, Structure
from hpc_mlsm.structures.symmetry import operations_of

U_ISO = 0.011


def ours(structure: Structure, d_min: float = 0.8, wavelength: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Indices and |F|²."""
    reflections = list_reflections(structure, d_min)
    reciprocal = np.linalg.inv(structure.cell.metric)
    atoms = scatterers(structure, U_ISO)
    return reflections.hkl, squared_structure_factors(structure.id, reflections, atoms, reciprocal, wavelength)


def with_tensors(structure: Structure, *tensors: tuple[float, float, float, float, float, float]) -> Structure:
    sites = tuple(replace(site, u_aniso=u) for site, u in zip(structure.sites, tensors, strict=True))
    return replace(structure, sites=sites)


GENERAL = (0.012, 0.020, 0.009, 0.003, -0.002, 0.004)
ANISOTROPIC = (
    with_tensors(BADDELEYITE, GENERAL, (0.02, 0.01, 0.015, -0.004, 0.003, 0.001), GENERAL),
    with_tensors(TRICLINIC, GENERAL, GENERAL, (0.03, 0.01, 0.02, 0.0, 0.005, -0.004)),
    with_tensors(RUTILE, (0.01, 0.01, 0.02, 0.003, 0.0, 0.0), (0.02, 0.02, 0.01, -0.006, 0.0, 0.0)),
    with_tensors(WURTZITE, (0.01, 0.01, 0.02, 0.005, 0.0, 0.0), (0.008, 0.008, 0.03, 0.004, 0.0, 0.0)),
    with_tensors(CORUNDUM, (0.01, 0.01, 0.02, 0.005, 0.0, 0.0), (0.01, 0.014, 0.02, 0.007, 0.001, 0.002)),
)


@pytest.mark.parametrize(
    "structure", [*ALL_SYSTEMS, DIAMOND, SPINEL, ALLOY, random_triclinic(1), *ANISOTROPIC], ids=lambda one: one.id
)
def test_they_are_those_of_gemmi(structure: Structure) -> None:
    hkl, found = ours(structure)
    expected = squared_by_gemmi(structure, hkl, U_ISO)
    # gemmi computes in single precision.
    np.testing.assert_allclose(found, expected, atol=1e-6 * expected.max())


@pytest.mark.reference
def test_they_are_those_of_gemmi_for_real_structures(shared_data: Path) -> None:
    compared = anisotropic = 0
    for path in sorted((shared_data / "cod").rglob("*.cif"))[::7]:
        for structure in map(on_special_positions, read_cif(path)[0]):
            group = gemmi.find_spacegroup_by_name(structure.space_group_symbol)
            if group is None or set(operations_of(group)) != set(structure.operations):
                continue
            small = small_structure(structure, U_ISO)
            atoms = len(structure.operations) * sum(site.occ for site in small.sites)
            if abs(atoms - structure.unit_cell.occupancy.sum()) > 1e-3 or structure.cell.volume > 3000:
                continue  # gemmi takes disordered atoms near a special position for one
            hkl, found = ours(structure, 1.2)
            chosen = slice(None, None, max(1, len(hkl) // 40))
            expected = squared_by_gemmi(structure, hkl[chosen], U_ISO)
            tensors = any(site.u_aniso is not None for site in structure.sites)
            # Tensors that do not quite obey the symmetry of their site are made to here, and not by gemmi.
            tolerance = 1e-3 if tensors else 1e-6
            np.testing.assert_allclose(found[chosen], expected, atol=tolerance * found.max(), err_msg=structure.id)
            compared, anisotropic = compared + 1, anisotropic + tensors
    print(f"{compared} structures compared, {anisotropic} of them anisotropic")
    assert compared > 30


def on_special_positions(structure: Structure) -> Structure:
    """The structure with coordinates such as 0.333 exact, as the expansion of the cell makes them."""
    atoms = structure.unit_cell
    first = np.searchsorted(atoms.site, np.arange(len(structure.sites)))
    exact = [
        replace(site, x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))
        for site, xyz in zip(structure.sites, atoms.fractional[first], strict=True)
    ]
    return replace(structure, sites=tuple(exact))


def test_anisotropic_sites_are_summed_as_written_down_atom_by_atom() -> None:
    structure = with_tensors(BADDELEYITE, GENERAL, (0.02, 0.01, 0.015, -0.004, 0.003, 0.001), GENERAL)
    hkl, found = ours(structure)
    reciprocal = np.linalg.inv(structure.cell.metric)
    stars = np.sqrt(np.diag(reciprocal))
    expected = np.zeros(len(hkl), dtype=complex)
    squares = np.einsum("ri,ij,rj->r", hkl, reciprocal, hkl) / 4
    for triplet in structure.operations:
        op = gemmi.Op(triplet)
        for site in structure.sites:
            u11, u22, u33, u12, u13, u23 = site.u_aniso or ()
            tensor = np.array([[u11, u12, u13], [u12, u22, u23], [u13, u23, u33]]) * np.outer(stars, stars)
            turned = hkl @ (np.array(op.rot) / op.DEN)
            phase = turned @ [site.x, site.y, site.z] + hkl @ (np.array(op.tran) / op.DEN)
            damping = np.exp(-2 * np.pi**2 * np.einsum("ri,ij,rj->r", turned, tensor, turned))
            f = form_factors(np.array([gemmi.Element(site.element).atomic_number]), squares)[0]
            expected += f * damping * np.exp(2j * np.pi * phase)
    np.testing.assert_allclose(found, np.abs(expected) ** 2, rtol=1e-9, atol=1e-9 * found.max())


def test_rock_salt_has_the_sum_and_the_difference_of_its_form_factors() -> None:
    hkl, found = ours(ROCK_SALT, 1.0)
    squares = (hkl**2).sum(axis=1) / 5.64**2 / 4
    sodium, chlorine = form_factors(np.array([11, 17]), squares)
    damping = np.exp(-8 * np.pi**2 * U_ISO * squares)
    signs = np.where(hkl[:, 0] % 2 == 0, 1, -1)
    np.testing.assert_allclose(found, (4 * (sodium + signs * chlorine) * damping) ** 2, rtol=1e-9)


def test_form_factors_are_the_atomic_number_at_zero_and_fall() -> None:
    at_zero, further = form_factors(np.arange(1, 99), np.array([0.0, 0.25])).T
    np.testing.assert_allclose(at_zero, np.arange(1, 99), rtol=3e-3)
    assert (further < at_zero).all()


def test_dispersion_changes_copper_radiation_on_iron_as_tabulated() -> None:
    # Cromer & Liberman as tabulated for Cu Kα: f' about -1.1, f'' about 3.2.
    real, imaginary = dispersion(26, 1.54056)
    assert real == pytest.approx(-1.13, abs=0.05)
    assert imaginary == pytest.approx(3.20, abs=0.05)
    assert dispersion(98, 1.54056) == (0.0, 0.0)


def test_with_dispersion_both_friedel_mates_are_averaged() -> None:
    hkl, found = ours(WURTZITE, 1.0, wavelength=1.54056)
    reciprocal = np.linalg.inv(WURTZITE.cell.metric)
    squares = np.einsum("ri,ij,rj->r", hkl, reciprocal, hkl) / 4
    atoms = WURTZITE.unit_cell
    mates = np.zeros((2, len(hkl)), dtype=complex)
    for number, xyz in zip(atoms.numbers, atoms.fractional, strict=True):
        f = form_factors(np.array([number]), squares)[0] + complex(*dispersion(int(number), 1.54056))
        f = f * np.exp(-8 * np.pi**2 * U_ISO * squares)
        mates += f * np.exp(2j * np.pi * np.stack([hkl, -hkl]) @ xyz)
    np.testing.assert_allclose(found, (np.abs(mates) ** 2).mean(axis=0), rtol=1e-9, atol=1e-9)


def test_atoms_are_counted_once_for_all_that_centring_and_inversion_give() -> None:
    assert len(scatterers(NICKEL, U_ISO)) == 1
    assert scatterers(NICKEL, U_ISO).weights.tolist() == [4.0]
    spinel = scatterers(SPINEL, U_ISO)  # 56 atoms, four lattice points, a centre
    assert spinel.centric
    assert len(spinel) == 1 + 4 + 4
    assert spinel.weights.sum() == pytest.approx(56)
    assert not scatterers(WURTZITE, U_ISO).centric


def test_an_empty_site_scatters_nothing_and_an_empty_structure_is_refused() -> None:
    empty = Site("Xe1", "Xe", 0.1, 0.2, 0.3, occupancy=0.0)
    np.testing.assert_allclose(ours(replace(RUTILE, sites=(*RUTILE.sites, empty)))[1], ours(RUTILE)[1], rtol=1e-12)
    with pytest.raises(StructureError, match="no site is occupied") as caught:
        ours(replace(RUTILE, sites=(empty,)))
    assert caught.value.reason == "no_scattering"


@pytest.mark.parametrize("element", ["Es", "X"])
def test_an_element_without_a_form_factor_is_refused(element: str) -> None:
    with pytest.raises(StructureError, match="no X-ray scattering factor for") as caught:
        ours(replace(NICKEL, sites=(replace(NICKEL.sites[0], element=element),)))
    assert caught.value.reason == "no_form_factor"


def test_a_sum_of_minutes_is_refused_with_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure_factors, "MAX_TERMS", 100.0)
    with pytest.raises(StructureError, match=r"4 atoms times 45 reflections are 1\.8e\+02 terms") as caught:
        ours(RUTILE)
    assert caught.value.reason == "too_many_reflections"
