"""Formulae and space-group symbols as in print."""

import re

import gemmi
import pytest
from matplotlib.mathtext import MathTextParser

from hpc_mlsm.report.notation import (
    composition_of,
    formula_figure,
    formula_html,
    parameter_html,
    plain_figure,
    space_group_figure,
    space_group_html,
    structure_figure,
    structure_html,
)

HOSTILE = "<script>alert('x')</script>"
MADE_UP = re.compile(r"\d\(?[a-z]\)?$")
"""Symbols by which gemmi's table tells apart settings that have no name of their own ("C 2 2 2a", "P 21212(a)")."""

SYMBOLS = sorted({group.xhm() for group in gemmi.spacegroup_table() if not MADE_UP.search(group.xhm())})


def bare(markup):
    return re.sub("<[^>]*>", "", markup)


def test_amounts_become_subscripts():
    assert formula_html("Fe2O3") == "Fe<sub>2</sub>O<sub>3</sub>"
    assert formula_html("Fe0.95O") == "Fe<sub>0.95</sub>O"
    assert formula_figure("CoFe2O4") == "CoFe$_{2}$O$_{4}$"


@pytest.mark.parametrize("text", [HOSTILE, "not a formula", "", "2Fe", "fe2o3"])
def test_what_is_no_formula_is_only_escaped(text):
    assert "<" not in formula_html(text).replace("&lt;", "")
    assert "sub" not in formula_html(text)
    assert composition_of(text) is None


def test_the_order_of_elements_does_not_make_another_composition():
    assert composition_of("SrFe2As2") == composition_of("As2Fe2Sr") == composition_of("Sr2Fe4As4")
    assert composition_of("SrFe2As2") != composition_of("SrFe2As")
    assert composition_of("Fe0O0") is None


@pytest.mark.parametrize(
    ("symbol", "html"),
    [
        ("F m -3 m", '<i>F</i><i>m</i><span class="over">3</span><i>m</i>'),
        ("P 1 21/c 1", "<i>P</i>2<sub>1</sub>/<i>c</i>"),
        ("P 63/m m c", "<i>P</i>6<sub>3</sub>/<i>m</i><i>m</i><i>c</i>"),
        ("P4212", "<i>P</i>42<sub>1</sub>2"),
        ("P -1", '<i>P</i><span class="over">1</span>'),
        ("P 1", "<i>P</i>1"),
        ("P 1 1 21/b", "<i>P</i>112<sub>1</sub>/<i>b</i>"),
        ("R -3 c:H", '<i>R</i><span class="over">3</span><i>c</i><span class="setting">:H</span>'),
    ],
)
def test_symbols_have_italics_overbars_and_screw_axes(symbol, html):
    assert space_group_html(symbol) == f'<span class="sg">{html}</span>'


def test_every_tabulated_symbol_is_set_and_loses_nothing():
    for symbol in SYMBOLS:
        html = space_group_html(symbol)
        assert html.startswith('<span class="sg">'), symbol
        name = gemmi.find_spacegroup_by_name(symbol)
        # gemmi's own short name, which drops the same ones of monoclinic symbols, is the independent account.
        known = {name.short_name(), name.xhm().replace(" ", "")}
        known |= {text.partition(":")[0] for text in known}
        assert bare(html).partition(":")[0] in {text.replace("-", "") for text in known}, symbol
        assert html.count("over") == symbol.count("-"), symbol


def test_every_tabulated_symbol_can_be_drawn():
    parser = MathTextParser("path")
    for symbol in SYMBOLS[::7]:
        width = parser.parse(space_group_figure(symbol))[0]
        assert width > 0, symbol


@pytest.mark.parametrize("text", [HOSTILE, "F m banana", "Q 1", "", "F m -3 m:" + HOSTILE, "nonsense"])
def test_what_is_no_symbol_is_only_escaped(text):
    assert "<" not in space_group_html(text)
    assert space_group_figure(text) == plain_figure(text, 16)


def test_dollars_and_strange_letters_are_safe_in_figures():
    assert plain_figure(r"a$\frac{1}$") == r"a\$\frac{1}\$"
    assert plain_figure("naïve δ₂ 結晶\x00") == "naïve δ₂ □□□"


def test_a_structure_is_its_formula_and_its_space_group():
    assert structure_html("Fe2O3 (R -3 c:H)") == f"{formula_html('Fe2O3')} {space_group_html('R -3 c:H')}"
    assert structure_html(HOSTILE) == formula_html(HOSTILE)
    assert structure_figure("Fe2O3 (F m -3 m)") == r"Fe$_{2}$O$_{3}$ $Fm\overline{3}m$"
    assert structure_figure("Fe2O3") == "Fe$_{2}$O$_{3}$"


def test_parameters_have_their_letters():
    assert parameter_html("u_iso") == "<i>U</i><sub>iso</sub>"
    assert parameter_html("q_damp") == "<i>Q</i><sub>damp</sub>"
    assert parameter_html("delta2") == "<i>δ</i><sub>2</sub>"
    assert parameter_html("beta") == "<i>β</i>"
    assert parameter_html("a") == "<i>a</i>"
    assert parameter_html("scale_a") == "scale a"
    assert "<script" not in parameter_html(HOSTILE)
