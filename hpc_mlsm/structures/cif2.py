"""CIF 2 as CIF 1: triple-quoted strings become text fields; lists and tables, which hold no atoms, become unknown."""

import re

_MAGIC = re.compile(r"#\\#CIF_2\.0")
_TOKEN = re.compile(
    r"""
      (?P<field>^;.*?^;)                       # a text field
    | (?P<triple>'{3}.*?'{3}|"{3}.*?"{3})
    | (?P<string>'[^'\n]*'|"[^"\n]*")
    | (?P<comment>(?<!\S)\#[^\n]*)
    | (?P<open>[\[{])
    | (?P<close>[\]}])
    | (?P<word>[^\s'"\[\]{}]+)
    | (?P<other>\s+|.)
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)


def is_cif2(text: str) -> bool:
    """Whether the text declares itself to be CIF 2."""
    return bool(_MAGIC.match(text))


def as_cif1(text: str) -> str:
    """The text of a CIF 2 file in the syntax of CIF 1."""
    found: list[str] = []
    depth = 0
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(0, depth - 1)
            found.append("? " if depth == 0 else "")
        elif depth:
            continue
        elif kind == "triple":
            content = match.group()[3:-3].replace("\n;", "\n ;")
            found.append(f"\n;{content}\n;\n")
        elif kind == "string":
            found.append(match.group() + " ")
        else:
            found.append(match.group())
    return "".join(found)
