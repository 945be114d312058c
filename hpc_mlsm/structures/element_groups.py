"""Groups of elements that may be named in place of their symbols."""

ELEMENT_GROUPS: dict[str, frozenset[str]] = {
    name: frozenset(symbols.split())
    for name, symbols in {
        "alkali_metals": "Li Na K Rb Cs Fr",
        "alkaline_earths": "Be Mg Ca Sr Ba Ra",
        "transition_metals": (
            "Sc Ti V Cr Mn Fe Co Ni Cu Zn Y Zr Nb Mo Tc Ru Rh Pd Ag Cd Hf Ta W Re Os Ir Pt Au Hg Rf Db Sg Bh Hs"
        ),
        "post_transition_metals": "Al Ga In Tl Sn Pb Bi Po",
        "lanthanides": "La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu",
        "actinides": "Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr",
        "halogens": "F Cl Br I At",
        "noble_gases": "He Ne Ar Kr Xe Rn",
    }.items()
}
"""Name of a group and its members; every element is in one group at most."""


def expanded(words: frozenset[str]) -> frozenset[str]:
    """The words, with the members of groups in place of their names."""
    return frozenset().union(*(ELEMENT_GROUPS.get(word, {word}) for word in words))
