"""Structure factors of gemmi, which knows nothing of this package's expansion of the cell."""

import gemmi
import numpy as np

from hpc_mlsm.structures.structure import Structure


def squared_by_gemmi(structure: Structure, hkl: np.ndarray, u_iso: float) -> np.ndarray:
    """|F|² from asymmetric unit and tabulated space group, electrons²."""
    small = small_structure(structure, u_iso)
    calculator = gemmi.StructureFactorCalculatorX(small.cell)
    return np.array(
        [abs(calculator.calculate_sf_from_small_structure(small, [int(n) for n in row])) ** 2 for row in hkl]
    )


def small_structure(structure: Structure, u_iso: float) -> gemmi.SmallStructure:
    """The structure as gemmi takes it, occupancies divided by how often a site repeats itself."""
    small = gemmi.SmallStructure()
    small.cell = gemmi.UnitCell(*structure.cell.parameters)
    small.spacegroup_hm = structure.space_group_symbol
    small.determine_and_set_spacegroup("1")
    for site in structure.sites:
        one = gemmi.SmallStructure.Site()
        one.label, one.type_symbol, one.element = site.label, site.element, gemmi.Element(site.element)
        one.fract = gemmi.Fractional(site.x, site.y, site.z)
        one.occ = site.occupancy
        one.u_iso = u_iso if site.u_iso is None else site.u_iso
        if site.u_aniso is not None:
            one.aniso = gemmi.SMat33d(*site.u_aniso)
        small.add_site(one)
    small.setup_cell_images()
    small.change_occupancies_to_crystallographic()
    return small
