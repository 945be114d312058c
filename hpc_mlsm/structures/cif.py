"""CIF → Structure. Nothing that a file holds makes these functions raise: every block has an outcome.

What is believed, in short: listed symmetry operations before symbols before the space-group number; type symbols before
labels; listed occupancies and displacements where they are possible. Whatever is assumed, dropped or doubted is
a note on the structure; what cannot be used is a ``Reject`` with one of the codes in ``cif_reasons``.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpc_mlsm.errors import StructureError
from hpc_mlsm.structures.cif_checks import (
    composition_notes,
    contact_notes,
    contacts,
    density_notes,
    formula_deviations,
    without_repeats,
)
from hpc_mlsm.structures.cif_sites import read_cell, read_sites
from hpc_mlsm.structures.cif_symmetry import (
    Symmetry,
    listed_triplets,
    named_settings,
    other_settings,
    stated_operations,
)
from hpc_mlsm.structures.cif_text import CifBlock, read_blocks, read_raw, unpacked
from hpc_mlsm.structures.elements import formula_amounts
from hpc_mlsm.structures.provenance import read_provenance, read_revision
from hpc_mlsm.structures.structure import Cell, Reject, Structure
from hpc_mlsm.structures.symmetry import cell_misfit

MAX_MISFIT = 0.01
"""Largest relative deviation of a cell from its own symmetry that is taken for rounding."""

MAX_ATOMS = 100_000
"""Atoms in a cell beyond which a structure is refused."""


def read_cif(path: str | Path, source_id: str | None = None) -> tuple[list[Structure], list[Reject]]:
    """Structures and rejects of one CIF, plain or gzipped; ``parse_cif`` says how they are made.

    ``source_id`` is the file's name without its suffix where it is not given.
    """
    path = Path(path)
    identity = source_id if source_id is not None else re.sub(r"\.cif(\.gz)?$", "", path.name, flags=re.I)
    try:
        content = unpacked(read_raw(path))
    except StructureError as error:
        return [], [Reject(identity, str(path), error.reason, error.detail)]
    return parse_cif(content, identity, str(path))


def parse_cif(text: bytes | str, source_id: str, source: str) -> tuple[list[Structure], list[Reject]]:
    """Structures and rejects of the text of one CIF.

    Blocks without atoms (publication and overall blocks) are passed over where another block has atoms.

    Parameters
    ----------
    text : bytes or str
        The content: UTF-8, UTF-16 or Latin-1.
    source_id : str
        Id of the structure; where several blocks have atoms, each is ``source_id#blockname``.
    source : str
        Where the text is from, such as its path; the source of structures that cite no journal.

    Returns
    -------
    tuple of list of Structure and list of Reject
        In the order of the blocks. Together they are never empty.
    """
    try:
        blocks = read_blocks(text)
        with_atoms = [block for block in blocks if block.has_atoms]
        if not with_atoms:
            raise StructureError("no_atoms", f"none of the {len(blocks)} data blocks lists atoms")
    except StructureError as error:
        return [], [Reject(source_id, source, error.reason, error.detail)]
    structures, rejects, revision = [], [], read_revision(text)
    for block, identity in zip(with_atoms, _identities(with_atoms, source_id), strict=True):
        try:
            structures.append(_structure(block, identity, source, revision))
        except StructureError as error:
            rejects.append(Reject(identity, source, error.reason, error.detail))
    return structures, rejects


def _identities(blocks: Sequence[CifBlock], source_id: str) -> list[str]:
    if len(blocks) == 1:
        return [source_id]
    found: list[str] = []
    for block in blocks:
        identity = f"{source_id}#{block.name or 'unnamed'}"
        repeats = sum(other == identity or other.startswith(f"{identity}~") for other in found)
        found.append(f"{identity}~{repeats + 1}" if repeats else identity)
    return found


def _structure(block: CifBlock, identity: str, source: str, revision: int | None) -> Structure:
    """The structure of one block in the first setting that holds together; raises StructureError."""
    cell, notes = read_cell(block)
    sites, site_notes = read_sites(block, cell)
    cod_id = block.number("_cod_database_code")
    draft = Structure(
        id=identity,
        name=_name(block),
        cell=cell,
        space_group=1,
        space_group_symbol="P 1",
        operations=("x,y,z",),
        sites=tuple(sites),
        cod_id=int(cod_id) if cod_id else None,
        source=_citation(block) or source,
        notes=(*notes, *site_notes),
        r_factor=_r_factor(block),
        provenance=read_provenance(block, sites, revision),
    )
    error: StructureError | None = None
    usable: Structure | None = None
    settings, others = _settings(block, cell)
    for setting in settings:
        try:
            structure, sound = _in_setting(draft, setting, block)
        except StructureError as refusal:
            error = error or refusal
            continue
        if sound:
            return structure
        usable = usable or structure
    for setting in others:
        better = _corrected(draft, setting, block)
        if better is not None:
            return better
    if usable is None:
        raise error or StructureError("no_symmetry", "no setting of the space group can be used")
    return usable


def _settings(block: CifBlock, cell: Cell) -> tuple[list[Symmetry], list[Symmetry]]:
    """Settings as stated that fit the cell, and those to fall back on if they put atoms where none can be.

    Raises
    ------
    StructureError
        With reason ``no_symmetry``, ``bad_symmetry`` or ``cell_symmetry_mismatch``.
    """
    named = named_settings(block)
    try:
        listed = stated_operations(block)
    except StructureError as error:
        if not named:
            raise
        note = f"listed operations cannot be used ({error}); those of {named[0].symbol} taken"
        named = [replace(setting, notes=(*setting.notes, note)) for setting in named]
        listed = None
    stated = [listed] if listed else named
    if not stated:
        raise StructureError("no_symmetry", "neither symmetry operations nor a known space group; P 1 is not assumed")
    misfits = {setting.operations: cell_misfit(cell, setting.operations) for setting in stated}
    fitting = [setting for setting in stated if misfits[setting.operations] <= MAX_MISFIT]
    others = [setting for setting in (*named, *other_settings(stated[0])) if setting not in stated]
    others = [setting for setting in others if cell_misfit(cell, setting.operations) <= MAX_MISFIT]
    if fitting:
        return fitting, others
    if not others:
        found = ", ".join(f"{value:g}" for value in cell.parameters)
        raise StructureError(
            "cell_symmetry_mismatch",
            f"cell ({found}) deviates by {min(misfits.values()):.1%} from the symmetry of {stated[0].symbol}; "
            "one of the two is wrong",
        )
    note = f"operations of {stated[0].symbol} do not fit the cell; those of {others[0].symbol} do, and are used"
    return [replace(setting, notes=(*setting.notes, note)) for setting in others[:1]], []


def _in_setting(draft: Structure, setting: Symmetry, block: CifBlock) -> tuple[Structure, bool]:
    """The checked structure in one setting with all its notes, and whether distances and composition are sound.

    Raises StructureError where it cannot be used at all.
    """
    images = len(draft.sites) * len(setting.operations)
    if images > 20 * MAX_ATOMS:
        raise StructureError("too_many_atoms", f"{images} images of sites, at most {MAX_ATOMS} atoms are treated")
    structure = replace(
        draft,
        space_group=setting.number,
        space_group_symbol=setting.symbol,
        operations=setting.operations,
        notes=(*draft.notes, *setting.notes),
    )
    atoms = len(structure.unit_cell)
    if atoms > MAX_ATOMS:
        raise StructureError("too_many_atoms", f"{atoms} atoms in the cell, at most {MAX_ATOMS} are treated")
    close = contacts(structure)
    structure, repeat_notes = without_repeats(structure, close)
    if repeat_notes:
        close = contacts(structure)
        if not listed_triplets(block) and len(structure.unit_cell) > len(draft.sites):
            found = f"{len(draft.sites)} atoms are listed as if for a whole cell"
            repeat_notes.append(f"{found}, the symmetry makes {len(structure.unit_cell)}: one of the two is wrong")
    notes = [*repeat_notes, *contact_notes(structure, close)]
    notes += [*density_notes(structure, block), *composition_notes(structure, block)]
    sound = _has_stated_composition(structure, block) and not any(contact.impossible for contact in close)
    return structure.annotated(structure.name or structure.formula, (*structure.notes, *notes)), sound


def _has_stated_composition(structure: Structure, block: CifBlock) -> bool:
    """Whether the atoms, hydrogen apart, make up the stated formula, if one is stated."""
    formula = dict(formula_amounts(block.text("_chemical_formula_sum") or ""))
    return not any(symbol != "H" for symbol, _, _ in formula_deviations(structure.composition, formula))


def _corrected(draft: Structure, setting: Symmetry, block: CifBlock) -> Structure | None:
    """The structure in a setting that is not the stated one, if that alone makes it sound."""
    note = f"atoms collide or the composition is wrong in the stated setting; right in {setting.symbol}, used"
    try:
        structure, sound = _in_setting(draft, replace(setting, notes=(*setting.notes, note)), block)
    except StructureError:
        return None
    return structure if sound else None


def _name(block: CifBlock) -> str:
    kinds = ("name_mineral", "name_common", "name_systematic", "formula_structural", "formula_sum")
    return (block.text(*(f"_chemical_{kind}" for kind in kinds), "_pd_phase_name") or "").strip("'\" ")[:200]


def _r_factor(block: CifBlock) -> float | None:
    """R as a fraction; above 1 it was meant in per cent. None where it is not stated, or cannot be one."""
    value = block.number(*(f"_refine_ls_R_{kind}" for kind in ("factor_gt", "factor_obs", "factor_all", "I_factor")))
    if value is None or not 0.0 < value <= 100.0:
        return None
    return value / 100.0 if value > 1.0 else value


def _citation(block: CifBlock) -> str:
    """Journal, volume, first page and year; empty where no journal is named."""
    journal = block.text("_journal_name_full", "_citation_journal_full")
    if not journal:
        return ""
    volume = block.text("_journal_volume", "_citation_journal_volume")
    page, year = block.text("_journal_page_first"), block.text("_journal_year", "_citation_year")
    return " ".join(part for part in (journal, volume, page and f"p. {page}", year and f"({year})") if part)
