"""Why a structure may be refused: the stable codes of the rejects table, each with what it means."""

REASONS: dict[str, str] = {
    "unreadable": "the file could not be opened or unpacked (permission, vanished, broken gzip)",
    "empty": "the file holds nothing but blanks",
    "too_large": "the file is larger than any crystal structure; it is not read",
    "not_cif": "not a CIF: a web page, binary data, or text without a data_ block",
    "cif_syntax": "a CIF that breaks the syntax, most often because its end is missing",
    "no_atoms": "no atom with a type and three coordinates",
    "too_many_atoms": "more atoms than this package treats, as in proteins",
    "unknown_element": "an atom label or type symbol that stands for no element, or for several",
    "bad_cell": "cell lengths or angles are missing, zero, absurd, or enclose no volume",
    "no_symmetry": "neither symmetry operations nor a known space group are given",
    "bad_symmetry": "symmetry operations that cannot be read or form no finite group",
    "cell_symmetry_mismatch": "the cell contradicts its own symmetry by more than 1 %",
    "site_symmetry": "the images of a site do not fall into equal clusters",
    "bad_occupancy": "a site occupancy below 0 or well above 1",
    "overlapping_atoms": "atoms of full occupancy lie on top of each other",
    "absurd_density": "a mass density that no crystal has",
    "duplicate_id": "another file already gave a structure of this id",
    "parser_error": "the parser failed in a way nobody foresaw; worth a bug report",
}
"""Reason code and what it means. ``StructureError.reason`` and ``Reject.reason`` hold no other."""
