"""The one picture of a run."""

import struct

import pytest
from figure_checks import collisions
from report_samples import empty_content, full_content, pattern

from hpc_mlsm.errors import RunError, StoreError
from hpc_mlsm.report import picture
from hpc_mlsm.report.content import ModelScore
from hpc_mlsm.report.picture import draw_overview


def test_it_is_a_png_of_its_size_and_the_same_each_time(tmp_path):
    first = draw_overview(full_content(), tmp_path / "a.png").read_bytes()
    second = draw_overview(full_content(), tmp_path / "b.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert struct.unpack(">II", first[16:24]) == (2400, 840)
    assert first == second


@pytest.mark.parametrize("part", ["patterns", "scores", "groups"])
def test_one_part_is_enough(tmp_path, part):
    content = empty_content(**{part: getattr(full_content(), part)})
    assert draw_overview(content, tmp_path / "a.png").stat().st_size > 10_000


def test_nothing_to_draw_is_said(tmp_path):
    with pytest.raises(RunError, match="runs/a: there is no fitted pattern"):
        draw_overview(empty_content(patterns=(pattern(fits=()),)), tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(StoreError, match="cannot be written"):
        draw_overview(full_content(), tmp_path / "none" / "a.png")


def test_no_text_lies_on_another(tmp_path, monkeypatch):
    figures = []
    draw = picture._draw_groups
    monkeypatch.setattr(picture, "_draw_groups", lambda axes, groups: (figures.append(axes.figure), draw(axes, groups)))
    names = ("XGBoost", "nearest neighbour (Pearson)", "most frequent class")
    scores = tuple(ModelScore(name, {1: 0.8, 3: 0.99, 5: 1.0}, 9) for name in names)
    draw_overview(full_content(scores=scores), tmp_path / "a.png")
    assert collisions(figures[0]) == ([], [])
