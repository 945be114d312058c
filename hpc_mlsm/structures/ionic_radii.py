"""Effective ionic radii (Å) of common ions in sixfold coordination.

Source: R. D. Shannon, Acta Crystallographica A 32, 751 (1976), for the charge that the element most often has in oxides
and halides; high spin where there is a choice. Small ions are given for their usual, lower coordination.
"""

CATIONS: dict[str, float] = {
    "Li": 0.76,
    "Na": 1.02,
    "K": 1.38,
    "Rb": 1.52,
    "Cs": 1.67,
    "Be": 0.45,
    "Mg": 0.72,
    "Ca": 1.00,
    "Sr": 1.18,
    "Ba": 1.35,
    "Sc": 0.745,
    "Y": 0.90,
    "La": 1.032,
    "Ce": 1.01,
    "Pr": 0.99,
    "Nd": 0.983,
    "Sm": 0.958,
    "Eu": 0.947,
    "Gd": 0.938,
    "Tb": 0.923,
    "Dy": 0.912,
    "Ho": 0.901,
    "Er": 0.89,
    "Tm": 0.88,
    "Yb": 0.868,
    "Lu": 0.861,
    "Ti": 0.605,
    "Zr": 0.72,
    "Hf": 0.71,
    "V": 0.64,
    "Nb": 0.64,
    "Ta": 0.64,
    "Cr": 0.615,
    "Mo": 0.65,
    "W": 0.66,
    "Mn": 0.83,
    "Fe": 0.78,
    "Ru": 0.62,
    "Co": 0.745,
    "Rh": 0.665,
    "Ir": 0.625,
    "Ni": 0.69,
    "Pd": 0.86,
    "Pt": 0.80,
    "Cu": 0.73,
    "Ag": 1.15,
    "Au": 1.37,
    "Zn": 0.74,
    "Cd": 0.95,
    "Hg": 1.02,
    "Al": 0.535,
    "Ga": 0.62,
    "In": 0.80,
    "Tl": 1.50,
    "Sn": 0.69,
    "Pb": 1.19,
    "Bi": 1.03,
    "Th": 0.94,
    "U": 0.89,
}
"""Metals."""

ANIONS: dict[str, float] = {
    "N": 1.46,
    "O": 1.40,
    "F": 1.33,
    "S": 1.84,
    "Cl": 1.81,
    "Se": 1.98,
    "Br": 1.96,
    "Te": 2.21,
    "I": 2.20,
}
"""Non-metals that a structure type is known with."""

RADII: dict[str, float] = {"H": 0.30, "B": 0.27, "C": 0.30, "Si": 0.40, "P": 0.38, "Ge": 0.53, "As": 0.46} | (
    CATIONS | ANIONS
)
"""The radii of all of them, and of elements that are left in their places."""
