"""The section of a report about cross-validation."""

import re

import numpy as np
import pytest
from figure_checks import collisions, labels_without_unit
from report_samples import empty_content

from hpc_mlsm.evaluation.fold_files import FoldStudy
from hpc_mlsm.evaluation.fold_scores import CrossValidation, cross_validation_scores, dummy_probabilities
from hpc_mlsm.report.content import ForestTraining, ReportContent
from hpc_mlsm.report.doubts import doubts_of
from hpc_mlsm.report.fold_figures import OPAQUE, confusion_figure, models_figure
from hpc_mlsm.report.page import render
from hpc_mlsm.report.style import drawing
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, Relabelled

NONE_OF = 5
"""A class without a pattern."""


def scored(model: str, data_set: str = "full", skill: float = 1.0, n: int = 800) -> CrossValidation:
    rng = np.random.default_rng(7)
    labels = rng.choice([0, 1, 2, 3, 4, 6], n, p=[0.2, 0.4, 0.2, 0.1, 0.05, 0.05])
    fold_of = np.arange(n) % 5
    if model == "dummy":
        answers = dummy_probabilities(labels, fold_of, 7)
    else:
        answers = rng.dirichlet(np.ones(7), n) + skill * np.eye(7)[labels]
        answers[:, NONE_OF] = 0
    return cross_validation_scores(model, data_set, CRYSTAL_SYSTEMS, labels, answers, fold_of)


def study(*models: str, **changes: object) -> FoldStudy:
    results = tuple(scored(model, data_set) for data_set in ("full", "organic") for model in models)
    about = {"fingerprint": "f", "excluded": {}, "synthetic": {}, "disjoint": "structure"}
    return FoldStudy(results=results, **about | changes)  # type: ignore[arg-type]


def words(content: ReportContent) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", render(content)))


@pytest.mark.parametrize("models", [("forest", "dummy"), ("forest", "extra_trees", "cnn", "cnn-paper", "dummy")])
def test_nothing_is_in_the_way_of_anything_and_axes_have_units(models: tuple[str, ...]) -> None:
    with drawing():
        for figure in (models_figure([scored(name) for name in models]), confusion_figure(scored("forest"))):
            assert collisions(figure) == ([], [])
            assert labels_without_unit(figure) == []


def test_bars_are_as_high_as_the_mean_over_the_folds() -> None:
    forest = scored("forest", skill=0.3)
    with drawing():
        (axes,) = models_figure([forest, scored("dummy")]).axes
    heights = [bar.get_height() for bar in axes.patches[:4]]
    assert heights[0] == pytest.approx(np.mean([fold.accuracy for fold in forest.folds]))
    assert heights[3] == pytest.approx(np.mean([fold.balanced_accuracy for fold in forest.folds]))


def test_rows_of_the_confusion_figure_are_shares_of_the_class_and_absent_classes_are_left_out() -> None:
    result = scored("forest", skill=0.2)
    with drawing():
        (axes,) = confusion_figure(result).axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == [name for k, name in enumerate(CRYSTAL_SYSTEMS) if k != NONE_OF]
    opacity = np.array([patch.get_alpha() for patch in axes.patches]).reshape(6, 6) / OPAQUE
    assert opacity.sum(axis=1) == pytest.approx(np.ones(6))
    assert opacity[1, 1] == pytest.approx(result.confusion[1, 1] / result.confusion[1].sum())


def test_the_page_has_each_data_set_with_models_classes_and_what_was_left_out() -> None:
    found = study("forest", "extra_trees", "dummy", excluded={"full": {"long axis": 12}, "organic": {"R factor": 3}})
    text = render(empty_content(folds=found, grouped=False))
    shown = words(empty_content(folds=found, grouped=False))
    assert text.count("<svg") == 2 * (1 + 2)
    assert "Data set organic" in shown
    assert "long axis 12 0" in shown
    mean, std = found.results[0].mean_std("accuracy")
    assert f"{mean:.3f} ({std:.3f})" in shown
    assert "extra_trees by crystal system" in shown
    assert "No structure is on both sides" in shown


def test_structures_that_were_relabelled_are_listed() -> None:
    changed = (Relabelled("TiO2_136", "TiO2", 1, 136),)
    shown = words(empty_content(folds=study("forest", "dummy", relabelled=changed), grouped=False))
    assert "1 structure stated as P1 has more symmetry" in shown
    assert "TiO2_136 TiO2 P 1 P 42/m n m tetragonal" in shown
    assert "stated as P1" not in words(empty_content(folds=study("forest", "dummy"), grouped=False))


def test_runs_without_groups_do_not_ask_for_them() -> None:
    forests = (ForestTraining("forest", "random_forest", 250, 30, {"cubic": 10, "triclinic": 4}),)
    shown = words(empty_content(folds=study("forest", "dummy"), forests=forests, grouped=False))
    assert "Not run yet: ingest, predict" in shown
    assert "grouped" not in shown
    answered = words(empty_content(answers_page="../predictions/predictions.html", grouped=False))
    assert "What the models say of measured patterns" in answered
    assert "No pattern has been classified" not in answered
    assert "forest 250 30 14 10 4" in shown


def test_synthetic_crystals_are_named_at_the_top_and_in_the_section() -> None:
    content = empty_content(folds=study("forest", "dummy", synthetic={"full": 800, "organic": 0}), grouped=False)
    assert any("Synthetic crystals are in the data set full" in doubt.text for doubt in doubts_of(content))
    assert "Data set full: 800 structures are synthetic crystals" in words(content)


def test_a_model_that_is_no_better_than_the_dummy_deserves_doubt() -> None:
    results = (scored("cnn", skill=0.0), scored("forest"), scored("dummy"))
    found = [doubt.text for doubt in doubts_of(empty_content(folds=FoldStudy("f", results, {}, {}, "structure")))]
    assert any(text.startswith("cnn is hardly better") for text in found)
    assert not any(text.startswith("forest") for text in found)


def test_without_a_cross_validation_there_is_no_such_section() -> None:
    assert 'id="folds"' not in render(empty_content())
