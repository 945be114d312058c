"""Which element a CIF means by ``Fe3+``, ``OW2``, ``C(11)`` or ``CO1``, and which elements a formula names."""

import re
from functools import lru_cache

import gemmi

from hpc_mlsm.errors import StructureError

HEAVIEST = 98
"""Californium: the last element with tabulated X-ray scattering factors, so ``Nh1`` is nitrogen, not nihonium."""

ELEMENTS = frozenset(gemmi.Element(number).name for number in range(1, HEAVIEST + 1))
"""Symbols that a structure may hold."""

_ISOTOPES = {"D": "H"}
_WATER = frozenset({"WAT", "WATX", "OW", "WO", "HOH", "WATER"})
_VACANCY = frozenset({"VA", "VAC", "VACANCY", "VOID", "DU", "DUM", "DUMMY", "Q", "QPEAK"})
_SEVERAL = re.compile(r"\W*([A-Z][a-z]?)[^/,;:]*[/,;:]\s*([A-Z][a-z]?)(?![a-z])")
_FORMULA_PART = re.compile(r"([A-Z][a-z]?)|[()\[\]{}+,;/*·-]|\d*\.?\d+|\.|\s+")
_AMOUNT = re.compile(r"([A-Z][a-z]?)(\d*\.?\d*)\s*")


@lru_cache(maxsize=65536)
def element_symbol(label: str, formula_elements: frozenset[str] | None = None) -> str:
    """Element that an atom label or type symbol stands for.

    The rules, first that applies:

    1. Leading digits (``13C``), brackets, quotes and blanks are dropped, and the letters up to the first other
       character are what counts: charges (``Fe3+``, ``O-2``, ``Ti3.928+``), numbers (``C(11)``) and anything after
       them say nothing about the element.
    2. Vacancies and dummies (``Va``, ``Vac``, ``Q``, ``Dum``) are no element, unless the formula has vanadium for
       ``Va``; nor is a label that names several, ``Al/Si``.
    3. Water (``Wat``, ``OW``, ``WatX3``; ``W`` where the formula has oxygen and no tungsten) is its oxygen.
       ``is_water`` tells a caller that hydrogen is missing. ``Am`` and ``NH4`` are nitrogen where the formula has
       nitrogen and no americium.
    4. The first two letters or else the first are read as a symbol. If the formula is known and has only one of the
       two, that one: ``CO1`` is cobalt in Co3O4 and carbon in CaCO3, ``Hg`` is hydrogen g of an organic molecule.
    5. Otherwise case decides: a small second letter that makes a symbol belongs to it (``Co1``, ``Fet``), and one
       that does not is ignored (``Ow``, ``Oh``).
    6. Otherwise two capitals: the only reading that is an element (``OW1``, ``AL2``); with both in the formula the
       two-letter one; with no formula to decide between two readings (``CO1``, ``SI1``) the label is refused.

    ``D`` is hydrogen. ``T`` marks a tetrahedral site far more often than tritium, and is refused.

    Parameters
    ----------
    label : str
        Atom label or type symbol.
    formula_elements : frozenset of str, optional
        Elements of the compound's formula, where known (see ``formula_elements``).

    Raises
    ------
    StructureError
        With reason ``unknown_element``.
    """
    letters = _leading_letters(label)
    known = formula_elements or frozenset()
    special = _special_word(letters, known)
    if special:
        return special
    if is_vacancy(label, formula_elements):
        raise _unknown(label, "names an empty site")
    if _names_several(label, known):
        raise _unknown(label, "names several elements")
    two, one = letters[:2].capitalize(), letters[:1].upper()
    readings = [s for s in dict.fromkeys((two, one)) if s in ELEMENTS or s == "D"]
    in_formula = [s for s in readings if s in known]
    if len(in_formula) == 1:
        return _ISOTOPES.get(in_formula[0], in_formula[0])
    if not readings:
        raise _unknown(label, "does not begin with the symbol of an element")
    if len(readings) == 2 and letters[1:2].isupper() and not in_formula:
        raise _unknown(label, f"may be {two} or {one}, and no formula or type symbol decides")
    return _ISOTOPES.get(readings[0], readings[0])


def is_water(label: str, element: str) -> bool:
    """Whether a label that was read as ``element`` names a water molecule, whose hydrogen is then missing."""
    letters = _leading_letters(label).upper()
    return element == "O" and (letters in _WATER or letters.startswith("WAT") or letters == "W")


def is_vacancy(label: str, formula_elements: frozenset[str] | None = None) -> bool:
    """Whether a label names an empty site or a residual-density peak, which is no atom."""
    letters = _leading_letters(label).upper()
    return letters in _VACANCY and not (letters.startswith("V") and "V" in (formula_elements or ()))


@lru_cache(maxsize=4096)
def formula_elements(formula: str) -> frozenset[str]:
    """Elements that a chemical formula names, in any notation; D counts as H too.

    Empty where the text holds anything that is not a formula (such as ``"?"`` or ``"Metal complex"``).
    """
    position, found = 0, set()
    while position < len(formula):
        match = _FORMULA_PART.match(formula, position)
        if not match:
            return frozenset()
        symbol = match.group(1)
        if symbol:
            if symbol not in ELEMENTS and symbol not in _ISOTOPES:
                return frozenset()
            found |= {symbol, _ISOTOPES.get(symbol, symbol)}
        position = match.end()
    return frozenset(found)


@lru_cache(maxsize=4096)
def formula_amounts(formula: str) -> tuple[tuple[str, float], ...]:
    """Element and amount pairs of a plain formula such as ``"Al2 Ca0.5 O12 Si4"``; empty for any other notation.

    One pair of brackets around the whole (``"(O H2)"``) is allowed; D is counted as H.
    """
    text = formula.strip()
    if text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    position, amounts = 0, dict[str, float]()
    while position < len(text):
        match = _AMOUNT.match(text, position)
        if not match or match.group(2) == ".":
            return ()
        symbol = _ISOTOPES.get(match.group(1), match.group(1))
        if symbol not in ELEMENTS:
            return ()
        amounts[symbol] = amounts.get(symbol, 0.0) + float(match.group(2) or 1.0)
        position = match.end()
    return tuple(amounts.items())


def _leading_letters(label: str) -> str:
    match = re.match(r"[\s\d'\"(\[{]*([A-Za-z]*)", label)
    return match.group(1) if match else ""


def _special_word(letters: str, known: frozenset[str]) -> str | None:
    """Oxygen or nitrogen for words that name a molecule, None for the rest."""
    word = letters.upper()
    water = word in _WATER or word.startswith("WAT")
    if (water and not (word == "WO" and "W" in known)) or (word == "W" and "O" in known and "W" not in known):
        return "O"
    if word in {"AM", "NH"} and "N" in known and "Am" not in known:
        return "N"
    return None


def _names_several(label: str, known: frozenset[str]) -> bool:
    match = _SEVERAL.match(label)
    if not match or match.group(1) == match.group(2):
        return False
    return set(match.groups()) <= (known or ELEMENTS)


def _unknown(label: str, why: str) -> StructureError:
    advice = "name the element in _atom_site_type_symbol"
    return StructureError("unknown_element", f"atom label {label!r} {why}; {advice}")
