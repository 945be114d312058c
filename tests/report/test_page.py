"""The HTML report as a file."""

import hashlib
import re
from base64 import b64encode
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from report_samples import candidate, empty_content, fit, full_content, pattern

from hpc_mlsm.archive.pattern import PatternReject
from hpc_mlsm.errors import StoreError
from hpc_mlsm.report import page
from hpc_mlsm.report.content import (
    CatalogueSummary,
    GroupSummary,
    ModelScore,
    StageSummary,
    TrainingSummary,
    WeakSpot,
)
from hpc_mlsm.report.page import render, write_report
from hpc_mlsm.structures.structure import Reject

HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert(2)'>{{ 7 * 7 }}$\\frac{1}$]]>--><b>"""
VOID = {"meta", "input", "br", "img", "link"}


class Page(HTMLParser):
    """Tags, attributes and visible text of a page, and whether its elements close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = [], [], "", []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def full():
    return render(full_content())


def test_all_sections_are_there_and_its_elements_close(full):
    parsed = Page(full)
    headings = re.findall("<h2>(.*?)</h2>", full)[1:]
    assert headings == ["Patterns and their candidates", "Model", "Classes", "Catalogue", "How it was made"]
    assert parsed.tags.count("svg") == 7
    assert "not been" not in parsed.text
    for target in re.findall('href="#([^"]*)"', full):
        assert f'id="{target}"' in full


def test_ids_are_unique(full):
    ids = re.findall(r'\bid="([^"]*)"', full)
    assert len(ids) == len(set(ids))


def test_an_empty_run_is_a_right_report_that_says_what_has_not_been_run():
    parsed = Page(render(empty_content()))
    assert "svg" not in parsed.tags
    for stage in ("predict", "train", "group", "ingest"):
        assert f"(stage {stage})" in parsed.text
    assert "No stage has been recorded." in parsed.text


PARTS = ("catalogue", "stages", "groups", "training", "scores", "calibration", "weak_spots", "patterns", "settings")


@pytest.mark.parametrize("part", PARTS)
def test_each_part_can_be_alone(part):
    alone = Page(render(empty_content(**{part: getattr(full_content(), part)})))
    assert alone.tags.count("section") == 5


@pytest.mark.parametrize("part", ["training", "scores"])
def test_the_rest_is_there_where_one_part_is_missing(part):
    text = Page(render(full_content(patterns=(), **{part: getattr(empty_content(), part)}))).text
    assert "Do probabilities mean what they say?" in text


def test_a_model_that_has_not_been_evaluated_is_told_so():
    assert "not been evaluated yet (stage evaluate)" in render(full_content(scores=()))


def test_nothing_is_asked_of_a_network(full):
    parsed = Page(full)
    loaded = [value for name, value in parsed.attributes if name in ("src", "srcset", "data", "poster", "action")]
    assert loaded == []
    assert "link" not in parsed.tags
    links = {value for name, value in parsed.attributes if name in ("href", "xlink:href")}
    assert {link for link in links if not link.startswith("#")} == {"https://www.crystallography.net/cod/9008476.html"}
    assert not re.search(r"url\((?!#)|@import|@font-face", full)


def test_the_browser_is_told_to_run_only_the_sorting_script(full):
    policy = re.search('Content-Security-Policy" content="([^"]*)"', full)[1]
    script = re.search("<script>(.*?)</script>", full, re.DOTALL)[1]
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"'sha256-{digest}'" in policy


def hostile_content():
    texts = {"name": HOSTILE, "structure_ids": (HOSTILE,), "others": (HOSTILE,) * 9, "class_id": HOSTILE}
    bad = candidate(formula=HOSTILE, symbol=HOSTILE, cod_ids=(), **texts)
    return replace(
        full_content(),
        title=HOSTILE,
        run=HOSTILE,
        versions={HOSTILE: HOSTILE},
        settings={HOSTILE: {HOSTILE: HOSTILE}},
        catalogue=CatalogueSummary(1, 1, {HOSTILE: 1}, [Reject(HOSTILE, HOSTILE, HOSTILE, HOSTILE)], {HOSTILE: 1}),
        stages=(StageSummary(HOSTILE, HOSTILE, 1.0, 1, 1, 1, HOSTILE),),
        groups=GroupSummary(0.95, HOSTILE, (3,), ((HOSTILE, (HOSTILE,) * 9, 0.1),)),
        training=TrainingSummary(1, 1, 1, 1, (1.0,), 0, 9.0, 1.0, HOSTILE),
        scores=(ModelScore(HOSTILE, {1: 0.1}, 9, note=HOSTILE), ModelScore(HOSTILE + "2", {1: 0.2}, 9)),
        weak_spots=(WeakSpot(HOSTILE, HOSTILE, HOSTILE, 1, 0.1, ((HOSTILE, 0.5),)),),
        patterns=(
            pattern(HOSTILE, candidates=[bad], fits=[fit(HOSTILE, parameters={HOSTILE: (1.0, HOSTILE)})],
                    notes=(HOSTILE,), expected=HOSTILE + "!"),
        ),
        rejected_patterns=(PatternReject(HOSTILE, HOSTILE, HOSTILE, HOSTILE),),
    )  # fmt: skip


def test_hostile_text_in_any_place_is_shown_and_never_obeyed():
    text = render(hostile_content())
    parsed = Page(text)
    assert parsed.tags.count("script") == 1
    assert not {"img", "b"} & set(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on")]
    assert parsed.text.count("<script>alert(1)</script>") > 25
    assert "{{ 7 * 7 }}" in parsed.text


def test_its_numbers_are_those_of_the_content(full):
    text = Page(full).text.replace("\u202f", " ")
    for part in (
        "91.2 %",
        "81.4 %",
        "34 960",
        "43 700",
        "0.120",
        "0.987",
        "3.5238 Å",
        "0.0051 Å²",
        "3 min 12 s",
        "95.0 %",
    ):
        assert part in text, part
    assert "13 refused" in text
    assert "[0.005, 0.025]" in text
    assert "grid.r_max" in full


def test_probability_bars_are_as_wide_as_the_probability(full):
    assert full.count('<span style="width:95.0%"></span></span>95.0') == 2


def test_the_same_content_gives_the_same_bytes(full):
    assert render(full_content()) == full


def test_a_simulated_sample_is_called_one():
    text = Page(render(empty_content(patterns=(pattern(simulated=True), pattern("real"))))).text
    assert "Simulated samples, not measurements: 1 of 2 patterns." in text
    assert "Simulated sample, not a measurement" in text
    assert "Simulated samples" not in Page(render(full_content())).text


def test_many_patterns_stay_bounded_and_the_report_says_what_it_leaves_out():
    many = tuple(pattern(f"frame-{n:04}", [candidate(k, 0.2) for k in range(1, 11)]) for n in range(500))
    text = render(full_content(patterns=many))
    # 24 figures of about 40 kB, 500 rows of about 0.6 kB, and 0.2 MB for the rest.
    assert len(text) < 3e6
    parsed = Page(text)
    assert parsed.tags.count("article") == 24
    assert "Figures are drawn for the first 24 of 500 patterns." in parsed.text
    assert parsed.text.count("frame-0499") == 1


def test_figures_are_as_many_as_asked_for(monkeypatch):
    monkeypatch.setattr(page, "MAX_ROWS", 3)
    many = tuple(pattern(f"frame-{n}") for n in range(5))
    text = render(empty_content(patterns=many), max_figures=0)
    assert "<article" not in text
    assert "The first 3 of 5 patterns are listed." in text
    assert "frame-3" not in text


def test_only_twenty_weak_spots_are_shown():
    spots = tuple(WeakSpot(f"g{n}", "NiO", "F m -3 m", 10, n / 100) for n in range(30))
    text = render(empty_content(scores=full_content().scores, weak_spots=spots))
    assert "The weakest 20 of 30 are shown." in text
    assert "<code>g19</code>" in text
    assert "<code>g20</code>" not in text


def test_a_pattern_without_candidates_or_fits_has_its_curve():
    one = pattern(candidates=(), fits=(), notes=("ends early",))
    text = Page(render(empty_content(patterns=(one,)))).text
    assert "no candidate" in text
    assert "No candidate curve was fitted" in text
    assert "ends early." in text


def test_the_file_appears_whole_or_not_at_all(tmp_path):
    path = write_report(full_content(groups=None), tmp_path / "report.html", max_figures=0)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render(full_content(groups=None), 0)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(empty_content(), tmp_path / "none" / "report.html")


def test_values_that_are_no_numbers_do_not_stop_a_report():
    odd = fit(r_w=float("nan"), correlation=float("nan"), parameters={"a": (float("inf"), "Å")})
    one = replace(pattern(candidates=[candidate(correlation=float("nan"))], fits=[odd]), measured=np.zeros(301))
    assert Page(render(empty_content(patterns=(one,)))).text
