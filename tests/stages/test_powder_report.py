"""The report of a run of powder patterns."""

import re
from pathlib import Path

from powder_runs import powder_config, simulated
from small_run import opened

from hpc_mlsm.evaluation.fold_files import FoldStudy
from hpc_mlsm.stages import evaluate, report, train


def test_the_report_of_a_powder_run_shows_forests_scores_and_made_up_crystals_and_asks_for_no_groups(
    tmp_path: Path,
) -> None:
    config = powder_config(
        "classify.folds.rare=spread",
        "simulate.variants=1",
        "train.forest.trees=4",
        "train.extra_trees.trees=4",
        source={"starter": False, "synthetic": {"count": 30}},
    )
    with opened(simulated(tmp_path / "run", config), config) as context:
        train.run(context)
        before = report.run(context).read_text()
        study = evaluate.run(context)
        after = report.run(context).read_text()
    assert "The model has not been evaluated yet" in before
    assert isinstance(study, FoldStudy)
    shown = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", after))
    assert "not been evaluated" not in shown
    assert "grouped" not in shown
    for one in study.results[:2]:
        mean, std = one.mean_std("accuracy")
        assert f"{one.model} {mean:.3f} ({std:.3f})" in shown
    assert "Data set full: 30 structures are synthetic crystals" in shown
    assert "Not run yet: predict" in shown
