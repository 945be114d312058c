"""Training that goes on from the model before, after structures have come, changed or gone."""

from functools import partial

from hpc_mlsm.config.load import plain
from hpc_mlsm.errors import BundleError
from hpc_mlsm.grouping.groups import SavedGroups
from hpc_mlsm.models.boosted import settings_fingerprint, staged_losses
from hpc_mlsm.models.bundle import Bundle, load_bundle
from hpc_mlsm.models.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from hpc_mlsm.stages.context import RunContext
from hpc_mlsm.stages.rows import LabelledRows

STAGE = "train"


def warm_start(context: RunContext, rows: LabelledRows, groups: SavedGroups, expected: str) -> int:
    """Put the trees of the bundle on disk where training looks for its checkpoint; returns how many rounds.

    That is done where the classes, their order, the grid and the settings of training are the same, and enough rounds
    are left; otherwise nothing is, and training begins anew. The validation losses of the rounds that are taken over
    are computed anew, on the validation rows of now, so that the best round is chosen among all of them.

    Parameters
    ----------
    rows, groups
        What is to be trained on.
    expected
        Fingerprint of the data and settings, by which training knows its checkpoint.
    """
    config, checkpoints = context.config, context.run.checkpoints
    if load_checkpoint(checkpoints, expected) is not None:
        return 0  # a training of these data was begun already
    try:
        bundle = load_bundle(context.run.model)
    except BundleError:
        return 0
    if why := _hindrance(context, bundle, groups):
        context.note(STAGE, f"training begins anew: {why}")
        return 0
    losses = staged_losses(bundle.booster, partial(rows.batches, "validation"), len(groups.groups))
    save_checkpoint(checkpoints, Checkpoint(losses, bundle.model), expected)
    limit = config.train.boosted.rounds
    context.note(STAGE, f"training goes on from the {len(losses)} rounds of the model before, to {limit} at most")
    return len(losses)


def _hindrance(context: RunContext, bundle: Bundle, groups: SavedGroups) -> str:
    """Why the trees of a bundle are of no use; empty if they are."""
    config = context.config
    before, now = [entry.class_id for entry in bundle.classes], [group.id for group in groups.groups]
    if before != now:
        come, gone = len(set(now) - set(before)), len(set(before) - set(now))
        return f"{come} classes have come and {gone} have gone" if come or gone else "the classes have other labels"
    used = bundle.info.settings
    if used["simulate"]["grid"] != plain(config.simulate)["grid"]:
        return "the grid is another one"
    boosted = plain(config.train)["boosted"]
    kept = settings_fingerprint(config.train.boosted)
    if any(used["train"]["boosted"].get(key) != boosted[key] for key in kept):
        return "the settings of training are others"
    left = config.train.boosted.rounds - bundle.info.metrics["best_round"]
    if left < config.train.boosted.early_stopping_rounds:
        return f"the model before has used all but {left} of the rounds there may be"
    return ""
