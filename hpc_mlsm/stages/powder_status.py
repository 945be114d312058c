"""How far the models of a run of powder patterns are, asked of what is on disk."""

from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.evaluation.classify_settings import FORESTS, ModelName, model_folder
from hpc_mlsm.stages.cross_validate import load_study, study_fingerprint
from hpc_mlsm.stages.data_sets import LabelledSet, labelled_sets
from hpc_mlsm.stages.network_data import network_data
from hpc_mlsm.stages.networks import network_state
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.train_powder import forest_state


def training_state(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    """State of all models together, and that of each in words."""
    found = [_model_state(run, config, part, name) for part in labelled_sets(run, config) for name in config.models]
    states = {state for state, _ in found}
    if len(states) == 1:
        return states.pop(), "; ".join(words for _, words in found)
    return "partly", "; ".join(f"{words} ({own})" for own, words in found)


def evaluation_state(run: RunDirectory, config: RunConfig) -> tuple[str, str]:
    """State of the cross-validation, and the accuracies that it found."""
    if not config.classify.cross_validate:
        return "done", "no cross-validation wanted"
    study = load_study(run)
    if study is None:
        started = sorted(path.name for path in (run.path / "evaluation" / "folds").glob("*"))
        return ("partly", f"folds of {', '.join(started)}") if started else ("not run", "no scores")
    current = study.fingerprint == study_fingerprint(labelled_sets(run, config), config)
    words = ", ".join(
        f"{model_folder(one.model, one.data_set)} {one.mean_std('accuracy')[0]:.1%}" for one in study.results
    )
    return "done" if current else "outdated", f"accuracy over {len(study.results[0].folds)} folds: {words}"


def _model_state(run: RunDirectory, config: RunConfig, part: LabelledSet, name: ModelName) -> tuple[str, str]:
    if name in FORESTS:
        return forest_state(run, config, part, name)
    return network_state(run.path / "models", network_data(run, config, part, name), config.networks[name])
