"""The space groups that models of powder patterns are taught: those stated, or those that the atoms have."""

from collections.abc import Mapping, Sequence

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.catalog.rows import Summary
from hpc_mlsm.evaluation.classify_settings import SymmetrySource
from hpc_mlsm.structures.found_symmetry import found_space_group
from hpc_mlsm.structures.labels import Relabelled

TOLERANCE = 0.01
"""By how much atoms may miss the places of a higher symmetry, Å: above the rounding of coordinates, below distortions
that split reflections."""

NAMED = 10
"""So many relabelled structures are named in a note."""


def relabelled(catalogue: Catalogue, summaries: Sequence[Summary], symmetry: SymmetrySource) -> dict[str, Relabelled]:
    """The structures that are taught with another space group than the stated one, by id.

    Only structures stated as P1 are looked at: exports of calculations are, whatever their symmetry. What else a source
    says stands, since disorder and partial occupancy mislead spglib. The groups of made-up crystals were found when
    they were made.
    """
    if symmetry == "stated":
        return {}
    doubtful = {one.id: one for one in summaries if one.space_group == 1 and one.source != "synthetic"}
    changed = {}
    for structure in catalogue.structures(sorted(doubtful)):
        found = found_space_group(structure, TOLERANCE)
        if found > 1:
            changed[structure.id] = Relabelled(structure.id, doubtful[structure.id].formula, 1, found)
    return changed


def taught_group(one: Summary, changed: Mapping[str, Relabelled]) -> int:
    """Number of the space group that a structure is taught with."""
    return changed[one.id].found if one.id in changed else one.space_group


def relabelling_note(changed: Sequence[Relabelled]) -> str:
    """What was relabelled, in a sentence that names the first of many."""
    systems = sum(one.stated_system != one.found_system for one in changed)
    named = ", ".join(f"{one.id} ({one.formula}) {one.found_system} {one.found_symbol}" for one in changed[:NAMED])
    more = f", and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
    subject = "1 structure stated as P1 has" if len(changed) == 1 else f"{len(changed)} structures stated as P1 have"
    return (
        f"{subject} more symmetry by spglib (within {TOLERANCE:g} Å) and another crystal system in {systems}: "
        f"{named}{more}; classify.symmetry: stated keeps what the source says"
    )
