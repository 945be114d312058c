"""The symmetry that a CIF states: operations, Hermann-Mauguin and Hall symbols, space-group number."""

import re
import warnings
from dataclasses import dataclass, field
from functools import lru_cache

import gemmi
import numpy as np
import spglib
from numpy.typing import NDArray

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif_text import CifBlock
from hpc_mlsm.structures.symmetry import operations_of

MAX_OPERATIONS = 768
"""No tabulated setting has more than 192 operations; four times that leaves room for multiple cells."""

_ORIGIN_SUFFIX = {"Z": ":2", "S": ":1", "O2": ":2", "O1": ":1", "H": ":H", "R": ":R", "HR": ":H"}


@dataclass(frozen=True)
class Symmetry:
    """A space group in one setting; ``operations`` are those of the whole group, identity first."""

    operations: tuple[str, ...]
    number: int
    symbol: str
    notes: tuple[str, ...] = field(default=())


def listed_triplets(block: CifBlock) -> tuple[str, ...]:
    """Symmetry operations as a block lists them; empty where it lists none."""
    listed = block.column("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
    return tuple(text for text in listed if text.strip() not in ("", "?", "."))


def stated_operations(block: CifBlock) -> Symmetry | None:
    """The group that the listed operations generate, None where none are listed.

    Notes say where operations were missing from the list, and where the list contradicts the symbol or number.

    Raises
    ------
    StructureError
        With reason ``bad_symmetry``.
    """
    triplets = listed_triplets(block)
    if not triplets:
        return None
    if len(triplets) > MAX_OPERATIONS:
        raise StructureError("bad_symmetry", f"{len(triplets)} symmetry operations are listed; no group has so many")
    found = group_of(triplets)
    hm, number = _hermann_mauguin(block), _number(block)
    named = gemmi.find_spacegroup_by_name(hm) if hm else None
    stated = named.number if named else number
    if stated is None or stated == found.number:
        return found
    name = hm or f"no. {number}"
    note = f"listed operations are those of {found.symbol}, the file calls it {name}; operations kept"
    return Symmetry(found.operations, found.number, found.symbol, (*found.notes, note))


def named_settings(block: CifBlock) -> list[Symmetry]:
    """Settings that the symbols and the number of a block allow, the most exactly stated first; may be empty.

    A Hermann-Mauguin symbol with its setting goes first, then the Hall symbol, then the settings (origin choices,
    hexagonal and rhombohedral axes) that a bare Hermann-Mauguin symbol allows, then the standard setting of
    the space-group number.
    """
    found: list[Symmetry] = []
    hm = _hermann_mauguin(block)
    bare: list[gemmi.SpaceGroup] = []
    if hm and (named := gemmi.find_spacegroup_by_name(hm)):
        if ":" in hm or len(_sister_settings(named)) == 1:
            found.append(_tabulated(named))
        # Rhombohedral axes come second here; where the cell has them, the hexagonal setting does not fit it.
        bare = sorted(_sister_settings(named), key=lambda setting: not setting.is_reference_setting())
    hall = block.text("_space_group_name_Hall", "_symmetry_space_group_name_Hall")
    if hall and (by_hall := _by_hall(hall.strip("\"' "))):
        found.append(by_hall)
    found += [_tabulated(setting) for setting in bare]
    number = _number(block)
    if not found and number is not None and 1 <= number <= 230:
        reference = gemmi.get_spacegroup_reference_setting(number)
        note = f"only the space-group number {number} is given, its standard setting assumed"
        found += [_tabulated(setting, note) for setting in (reference, *_sister_settings(reference))]
    different: dict[frozenset[str], Symmetry] = {}
    for setting in found:
        different.setdefault(frozenset(setting.operations), setting)
    return list(different.values())


def other_settings(symmetry: Symmetry) -> list[Symmetry]:
    """The other origin choice, or the other axes, of a tabulated setting that has any."""
    named = gemmi.find_spacegroup_by_name(symmetry.symbol)
    sisters = _sister_settings(named) if named else []
    return [_tabulated(sister) for sister in sisters if sister.xhm() != named.xhm()]


@lru_cache(maxsize=8192)
def group_of(triplets: tuple[str, ...]) -> Symmetry:
    """Group that coordinate triplets generate, named from its operations alone.

    Raises
    ------
    StructureError
        With reason ``bad_symmetry``: a triplet cannot be read, is no isometry, or the group is not finite.
    """
    rotations, translations = _read_triplets(triplets)
    rotations, translations = _with_identity_first(rotations, translations)
    listed = len(rotations)
    rotations, translations = _closed(rotations, translations)
    operations = tuple(_triplet(r, t) for r, t in zip(rotations, translations, strict=True))
    notes = []
    if len(operations) > listed:
        notes.append(f"{listed} operations are listed, the group they generate has {len(operations)}")
    named = gemmi.find_spacegroup_by_ops(gemmi.GroupOps([gemmi.Op(text) for text in operations]))
    if named:
        return Symmetry(operations, named.number, named.xhm(), tuple(notes))
    number = _number_by_spglib(rotations, translations)
    notes.append(f"operations are of space group {number} in a setting that has no symbol of its own")
    symbol = gemmi.get_spacegroup_reference_setting(number).hm
    return Symmetry(operations, number, symbol, tuple(notes))


def _read_triplets(triplets: tuple[str, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rotations, translations = [], []
    for text in triplets:
        try:
            op = gemmi.Op(re.sub(r"^\s*\d+\s+(?=[-+xyzXYZ\d])", "", text)).wrap()
        except (RuntimeError, ValueError) as error:
            raise StructureError("bad_symmetry", f"symmetry operation {text!r} cannot be read") from error
        rotation = np.array(op.rot) // gemmi.Op.DEN
        if abs(round(np.linalg.det(rotation))) != 1:
            raise StructureError("bad_symmetry", f"symmetry operation {text!r} does not preserve volume")
        rotations.append(rotation)
        translations.append(op.tran)
    return np.array(rotations), np.array(translations)


def _with_identity_first(
    rotations: NDArray[np.int64], translations: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rotations = np.concatenate([np.eye(3, dtype=np.int64)[None], rotations])
    translations = np.concatenate([np.zeros((1, 3), dtype=np.int64), translations])
    _, first = np.unique(_keys(rotations, translations), return_index=True)
    first.sort()
    return rotations[first], translations[first]


def _closed(
    rotations: NDArray[np.int64], translations: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All products until there are no new ones. gemmi.GroupOps completes rotations but not pure translations."""
    while True:
        count = len(rotations)
        products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 3, 3)
        shifted = np.einsum("aij,bj->abi", rotations, translations) + translations[:, None]
        rotations = np.concatenate([rotations, products])
        translations = np.concatenate([translations, shifted.reshape(-1, 3) % gemmi.Op.DEN])
        if np.abs(rotations).max() > 3:
            raise StructureError("bad_symmetry", "the symmetry operations form no finite group")
        _, first = np.unique(_keys(rotations, translations), return_index=True)
        first.sort()
        if len(first) > MAX_OPERATIONS:
            found = f"the symmetry operations generate more than {MAX_OPERATIONS} others"
            raise StructureError("bad_symmetry", f"{found}, so at least one of them is wrong")
        rotations, translations = rotations[first], translations[first]
        if len(first) == count:
            return rotations, translations


def _keys(rotations: NDArray[np.int64], translations: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer for each operation, for rotation entries from -3 to 3."""
    digits = (rotations.reshape(-1, 9) + 3) @ (7 ** np.arange(9))
    return digits * gemmi.Op.DEN**3 + translations @ (gemmi.Op.DEN ** np.arange(3))


def _triplet(rotation: NDArray[np.int64], translation: NDArray[np.int64]) -> str:
    op = gemmi.Op("x,y,z")
    op.rot = (rotation * gemmi.Op.DEN).tolist()
    op.tran = translation.tolist()
    return str(op.triplet())


def _number_by_spglib(rotations: NDArray[np.int64], translations: NDArray[np.int64]) -> int:
    with warnings.catch_warnings():
        # spglib announces that what is None today will be an exception.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_spacegroup_type_from_symmetry(rotations, translations / gemmi.Op.DEN)
        except spglib.SpglibError:
            found = None
    if found is None:
        raise StructureError("bad_symmetry", "the symmetry operations are those of no space group")
    return int(found.number)


def _hermann_mauguin(block: CifBlock) -> str | None:
    """The symbol with its setting, in gemmi's notation (``F d -3 m:2``) whichever way the file writes it."""
    hm = block.text(
        "_space_group_name_H-M_alt",
        "_symmetry_space_group_name_H-M",
        "_space_group_name_H-M_full",
        "_space_group_name_H-M_ref",
    )
    if not hm:
        return None
    hm = re.sub(r"\(?\s*origin (choice|at)?\s*([12])\s*\)?", r":\2", hm.strip("\"' "), flags=re.IGNORECASE)
    hm = re.sub(r"\s+:", ":", hm)
    if ":" in hm or gemmi.find_spacegroup_by_name(hm):
        code = block.text("_space_group_IT_coordinate_system_code") or ""
        with_code = f"{hm}:{code[-1:]}"
        use_code = ":" not in hm and code and gemmi.find_spacegroup_by_name(with_code)
        return with_code if use_code else hm
    match = re.match(r"(.*\S)\s*\b(Z|S|O1|O2|H|R|HR)$", hm) or re.match(r"(.*\S)(Z|S)$", hm)
    return match.group(1) + _ORIGIN_SUFFIX[match.group(2)] if match else hm


def _number(block: CifBlock) -> int | None:
    value = block.number("_space_group_IT_number", "_symmetry_Int_Tables_number")
    return int(value) if value is not None and value == int(value) else None


@lru_cache(maxsize=1024)
def _by_hall(symbol: str) -> Symmetry | None:
    try:
        operations = gemmi.symops_from_hall(symbol)
    except (RuntimeError, ValueError):
        return None
    return group_of(tuple(op.triplet() for op in operations))


def _sister_settings(space_group: gemmi.SpaceGroup) -> list[gemmi.SpaceGroup]:
    """Settings that share the Hermann-Mauguin symbol and differ in origin or axes, itself included."""
    return [s for s in _table_by_number().get(space_group.number, []) if s.hm == space_group.hm]


@lru_cache(maxsize=1)
def _table_by_number() -> dict[int, list[gemmi.SpaceGroup]]:
    table: dict[int, list[gemmi.SpaceGroup]] = {}
    for space_group in gemmi.spacegroup_table():
        table.setdefault(space_group.number, []).append(space_group)
    return table


def _tabulated(space_group: gemmi.SpaceGroup, *notes: str) -> Symmetry:
    return Symmetry(operations_of(space_group), space_group.number, space_group.xhm(), notes)
