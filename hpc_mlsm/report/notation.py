"""Formulae, space-group symbols and parameter names set as in print, for HTML and for figures.

Figures use the mathematical text of matplotlib, where a ``$`` begins a formula: text that comes from outside is
escaped there just as it is in HTML.
"""

import re
from functools import lru_cache

from markupsafe import Markup, escape

_FORMULA = re.compile(r"(?:[A-Z][a-z]?(?:\d+(?:\.\d+)?)?)+")
_PART = re.compile(r"([A-Z][a-z]?)(\d+(?:\.\d+)?)?")
_SETTING = re.compile(r"(?P<symbol>[^:]*?)\s*(?::\s*(?P<setting>[A-Za-z0-9]{1,4}))?")
_WITH_GROUP = re.compile(r"(?P<formula>\S+) \((?P<symbol>[^()]+)\)")
_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
}
_CAPITAL = {"u": "U", "q": "Q", "r": "R"}
_LENGTHS = frozenset("abcr")


def formula_html(text: str) -> Markup:
    """A formula with its numbers as subscripts: "Fe2O3" → Fe₂O₃; text that is no formula is only escaped."""
    if not _FORMULA.fullmatch(text):
        return escape(text)
    return Markup("").join(Markup("{}<sub>{}</sub>").format(*part) if part[1] else part[0] for part in _parts(text))


def formula_figure(text: str, most: int = 40) -> str:
    """A formula for a label of a figure, cut after whole elements where it has more than so many characters."""
    if not _FORMULA.fullmatch(text):
        return plain_figure(text, most)
    parts = _parts(text)
    while len(parts) > 1 and sum(len(symbol + amount) for symbol, amount in parts) > most:
        parts.pop()
    drawn = "".join(f"{symbol}$_{{{amount}}}$" if amount else symbol for symbol, amount in parts)
    return drawn + ("…" if parts != _parts(text) else "")


def _parts(text: str) -> list[tuple[str, str]]:
    return _PART.findall(text)


def composition_of(text: str) -> dict[str, float] | None:
    """Share of each element in a formula, by which Fe2As2Sr and SrFe2As2 are one; None if the text is no formula."""
    if not _FORMULA.fullmatch(text):
        return None
    amounts: dict[str, float] = {}
    for symbol, amount in _parts(text):
        amounts[symbol] = amounts.get(symbol, 0.0) + float(amount or 1)
    total = sum(amounts.values())
    return {symbol: round(n / total, 4) for symbol, n in amounts.items()} if total > 0 else None


def plain_figure(text: str, most: int = 40) -> str:
    """Any text for a label of a figure, cut at so many characters.

    Characters that the font does not have become boxes, and ``$`` does not begin a formula.
    """
    shown = text if len(text) <= most else text[: most - 1] + "…"
    return "".join(c if _in_font(c) else "□" for c in shown).replace("$", r"\$")


def _in_font(character: str) -> bool:
    return (
        (character.isascii() and character.isprintable())
        or "\xa1" <= character <= "\u024f"
        or character in "αβγδρσ₀₁₂₃₄₅₆₇₈₉–−…\u202f"
    )


def space_group_html(text: str) -> Markup:
    """A Hermann-Mauguin symbol in italics, with overbars and screw axes: "F m -3 m" → Fm3̄m."""
    parsed = _tokens(text)
    if parsed is None:
        return escape(text)
    tokens, setting = parsed
    symbol = Markup("").join(_token_html(token) for token in tokens)
    tail = Markup('<span class="setting">:{}</span>').format(setting) if setting else ""
    return Markup('<span class="sg">{}{}</span>').format(symbol, tail)


def space_group_figure(text: str) -> str:
    """A Hermann-Mauguin symbol for a label of a figure."""
    parsed = _tokens(text)
    if parsed is None:
        return plain_figure(text, 16)
    tokens, setting = parsed
    symbol = "".join(_token_figure(token) for token in tokens)
    return f"${symbol}$" + (f":{setting}" if setting else "")


@lru_cache(maxsize=4096)
def _tokens(text: str) -> tuple[tuple[str, ...], str] | None:
    """The pieces of a symbol, each "P", "m", "-3", "2_1" or "/c", and its setting; None if it is not understood."""
    match = _SETTING.fullmatch(text.strip())
    if match is None:
        return None
    places = match["symbol"].split()
    if len(places) == 1:
        places = _places_of_compact(places[0])
    if not places or places[0] not in ("P", "A", "B", "C", "I", "F", "R", "H"):
        return None
    if len(places) == 4 and places[1] == places[3] == "1" and places[2] != "1":
        places = [places[0], places[2]]  # unique axis b is the usual one and goes without saying
    pieces = [places[0]]
    for place in places[1:]:
        found = _place(place)
        if not found:
            return None
        pieces += found
    return tuple(pieces), match["setting"] or ""


def _places_of_compact(symbol: str) -> list[str]:
    """The places of a symbol written without spaces ("P4212"), from the table of space groups."""
    import gemmi

    known = gemmi.find_spacegroup_by_name(symbol)
    return str(known.hm).split() if known is not None else [symbol[:1], *([symbol[1:]] if symbol[1:] else [])]


def _place(place: str) -> list[str]:
    """Pieces of one place, such as "63/m" → ["6_3", "/m"]; empty if it is not understood."""
    match = re.fullmatch(r"(-?)([1-6])([1-5]?)(/[abcdemn])?|([abcdemn])", place)
    return [] if match is None else [piece for piece in _split(match) if piece]


def _split(match: re.Match[str]) -> list[str]:
    bar, axis, screw, plane, glide = match.groups(default="")
    return [glide] if glide else [bar + axis + (f"_{screw}" if screw else ""), plane]


def _token_html(piece: str) -> Markup:
    if piece.startswith("-"):
        return Markup('<span class="over">{}</span>').format(piece[1:])
    axis, _, screw = piece.partition("_")
    if screw:
        return Markup("{}<sub>{}</sub>").format(axis, screw)
    if piece.startswith("/"):
        return Markup("/<i>{}</i>").format(piece[1:])
    return escape(piece) if piece.isdigit() else Markup("<i>{}</i>").format(piece)


def _token_figure(piece: str) -> str:
    return rf"\overline{{{piece[1:]}}}" if piece.startswith("-") else piece


def structure_html(text: str) -> Markup:
    """ "Formula (space group)" as class tables write it, both parts set as in print."""
    match = _WITH_GROUP.fullmatch(text)
    if match is None:
        return formula_html(text)
    return Markup("{} {}").format(formula_html(match["formula"]), space_group_html(match["symbol"]))


def structure_figure(text: str) -> str:
    """ "Formula (space group)" for a label of a figure."""
    match = _WITH_GROUP.fullmatch(text)
    if match is None:
        return formula_figure(text)
    return f"{formula_figure(match['formula'])} {space_group_figure(match['symbol'])}"


def parameter_html(name: str) -> Markup:
    """The name of a parameter: "u_iso" → U with subscript iso, "delta2" → δ₂, "a" in italics, else words."""
    match = re.fullmatch(r"(alpha|beta|gamma|delta)_?(\d?)", name)
    if match:
        return _symbol(_GREEK[match[1]], match[2])
    match = re.fullmatch(r"([uqr])_([a-z]{1,5})", name, re.IGNORECASE)
    if match:
        return _symbol(_CAPITAL[match[1].lower()], match[2])
    if name in _LENGTHS:
        return Markup("<i>{}</i>").format(name)
    return escape(name.replace("_", " "))


def parameter_figure(name: str) -> str:
    """The name of a parameter for a label of a figure."""
    if match := re.fullmatch(r"(alpha|beta|gamma|delta)_?(\d?)", name):
        return rf"$\{match[1]}" + (f"_{match[2]}$" if match[2] else "$")
    if match := re.fullmatch(r"([uqr])_([a-z]{1,5})(?:_([A-Z][a-z]?))?", name):
        element = f" {match[3]}" if match[3] else ""
        return rf"${_CAPITAL[match[1]]}_\mathrm{{{match[2]}}}$" + element
    return f"${name}$" if name in _LENGTHS else name.replace("_", " ")


def _symbol(letter: str, subscript: str) -> Markup:
    return Markup("<i>{}</i>{}").format(letter, Markup("<sub>{}</sub>").format(subscript) if subscript else "")
