"""Figures as elements of a page."""

import io
import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
from report_samples import full_content, pattern

from hpc_mlsm.report.figures import accuracy_figure
from hpc_mlsm.report.pattern_figure import pattern_figure
from hpc_mlsm.report.style import drawing, thinned, to_svg


def numbers_of_paths(svg):
    paths = re.findall(r'\bd="([^"]*)"', svg, re.DOTALL)
    return [np.array([float(n) for n in re.findall(r"-?\d+(?:\.\d+)?", path)]) for path in paths]


def test_an_element_is_well_formed_and_refers_only_to_itself():
    with drawing():
        svg = to_svg(pattern_figure(pattern()), "p1", 'a "label" <b>')
    root = ElementTree.fromstring(svg)
    assert root.attrib["aria-label"] == 'a "label" <b>'
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert len(ids) == len(set(ids))
    assert all(name.startswith("p1-") for name in ids)
    referred = set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', svg))
    assert {a or b for a, b in referred} <= set(ids)
    assert not re.search("http|xlink|<style|<metadata|<!--", svg)


def test_the_compact_drawing_is_the_same_drawing():
    with drawing():
        figure = pattern_figure(pattern())
        stream = io.StringIO()
        figure.savefig(stream, format="svg", transparent=True)
        compact = to_svg(figure, "p1", "")
    before, after = numbers_of_paths(stream.getvalue()), numbers_of_paths(compact)
    assert len(before) == len(after)
    for old, new in zip(before, after, strict=True):
        assert old.shape == new.shape
        assert np.abs(old - new).max(initial=0.0) <= 0.00501  # two decimals of a point
    assert len(compact) < 0.6 * len(stream.getvalue())


def test_layers_become_classes_that_a_page_can_hide():
    with drawing():
        svg = to_svg(pattern_figure(pattern()), "p1", "")
    assert svg.count('class="layer-1"') == svg.count('class="layer-2"') == 2


def test_colours_are_those_of_the_page():
    with drawing():
        svg = to_svg(accuracy_figure(full_content().scores), "a", "")
    assert "var(--ink,#1b1b1f)" in svg
    assert set(re.findall(r"(?<!,)#[0-9a-f]{6}\b", svg)) == set()


def test_settings_of_the_user_do_not_show_and_are_put_back():
    figures = []
    with matplotlib.rc_context({"lines.linewidth": 9.0, "axes.facecolor": "red"}):
        for _ in range(2):
            with drawing():
                figures.append(to_svg(pattern_figure(pattern()), "p", ""))
            assert matplotlib.rcParams["lines.linewidth"] == 9.0
    with drawing():
        assert to_svg(pattern_figure(pattern()), "p", "") == figures[0] == figures[1]


def test_thinning_keeps_short_curves_and_the_ends_and_extremes_of_long_ones():
    x = np.arange(10_000.0)
    y = np.random.default_rng(1).normal(size=10_000)
    y[5] = np.nan
    assert thinned(x[:1500], y[:1500])[0] is not None
    assert np.array_equal(thinned(x[:1500], y[:1500])[1], y[:1500], equal_nan=True)
    kept_x, kept_y = thinned(x, y)
    assert len(kept_x) <= 1502
    assert (np.diff(kept_x) > 0).all()
    assert (kept_x[0], kept_x[-1]) == (0, 9999)
    assert (np.nanmax(kept_y), np.nanmin(kept_y)) == (np.nanmax(y), np.nanmin(y))
