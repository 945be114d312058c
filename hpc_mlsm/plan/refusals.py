"""What cannot work as it is planned: each with the figure and the remedy."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hpc_mlsm.models.projection import remedy
from hpc_mlsm.plan.projection import DISK_MARGIN
from hpc_mlsm.plan.shape import StageShape
from hpc_mlsm.plan.stages import Inventory, StageNeed, stage_need
from hpc_mlsm.plan.words import duration, size, slurm_memory, slurm_time

MOST_NODES = 4096


def refusals(what: Inventory, needs: Sequence[StageNeed], free_bytes: float, place: str) -> list[str]:
    """All reasons why the run cannot be done so; none where it fits.

    Parameters
    ----------
    free_bytes, place
        Of the disk that takes the run, and what it is called.
    """
    found = [words for need in needs for words in _of_stage(what, need)]
    disk = sum(need.disk for need in needs) * DISK_MARGIN
    if disk > free_bytes:
        found.append(
            f"disk: the run needs about {size(disk)}, {place} has {size(free_bytes)} free; lower simulate.variants, or "
            "put the run on a larger disk with --run"
        )
    return found


def _of_stage(what: Inventory, need: StageNeed) -> Iterator[str]:
    shape, key = need.shape, f"stages.{need.shape.key}"
    if need.device_bytes and what.gpu is not None and need.device_bytes > (what.gpu.memory or math.inf):
        yield (
            f"{need.stage}: a GPU needs about {size(need.device_bytes)}, gpu_memory is {size(what.gpu.memory or 0.0)}; "
            "lower train.cnn.batch, or use more ranks"
        )
    if need.stage == "train" and need.workers > 1 and what.network is None and what.boosted.trees == "vector":
        yield (
            f"train: trees with a value per class in each leaf are not trained over {need.workers} workers; set "
            "train.boosted.trees to per_class, or train.workers to 1"
        )
    if need.tasks and shape.memory_each is not None and need.memory_each > available(need):
        yield _memory(what, need)
    if need.tasks and need.unit_s > shape.usable_s:
        walltime = slurm_time(need.unit_s * 1.2 + shape.notice_s)
        yield (
            f"{need.stage}: {need.unit} takes about {duration(need.unit_s)}, and of the walltime "
            f"{slurm_time(shape.walltime_s)} {duration(shape.usable_s)} are left before the job is told to stop; raise "
            f"{key}.walltime to {walltime} at least{_or_more_cores(need)}"
        )


def available(need: StageNeed) -> float:
    """Memory that one process may have (bytes), infinite where nobody says; all of the node's where it is alone."""
    shape = need.shape
    if need.workers == 1 and shape.memory is not None and shape.executor != "slurm":
        return shape.memory
    return shape.memory_each or math.inf


def _memory(what: Inventory, need: StageNeed) -> str:
    shape, key = need.shape, f"stages.{need.shape.key}"
    each, there = need.memory_each, available(need)
    if shape.executor == "slurm":
        return (
            f"{need.stage}: each worker needs about {size(each)}, its job has {size(there)}; set {key}.worker_memory "
            f"to {slurm_memory(each * 1.1)}{_fewer(what, need)}"
        )
    if need.workers == 1:
        return (
            f"{need.stage}: needs about {size(each)}, its node gives {size(there)}; set {key}.memory to "
            f"{slurm_memory(each * 1.05)}{_fewer(what, need)}"
        )
    assert shape.memory is not None
    fitting = int(shape.memory / each)
    fewer = "workers" if shape.executor == "local" else "tasks_per_node"
    lower = f" or {key}.{fewer} to {fitting}" if fitting and (need.stage != "train" or what.network) else ""
    return (
        f"{need.stage}: {shape.together} processes of a node share {size(shape.memory)}, which is {size(there)} each, "
        f"and each needs about {size(each)}; set {key}.memory to {slurm_memory(each * shape.together * 1.05)}{lower}"
        f"{_fewer(what, need)}"
    )


def _fewer(what: Inventory, need: StageNeed) -> str:
    """For training, what else would make it fit: more nodes, or less to train."""
    if need.stage != "train" or what.network is not None:
        return ""
    shape = need.shape
    nodes = _enough_nodes(what, shape)
    spread = f", spread it over {nodes} nodes (executor: runner, nodes: {nodes}, tasks_per_node: 1)" if nodes else ""
    return f"{spread}, or {remedy(what.training(need.workers), available(need))}"


def _enough_nodes(what: Inventory, shape: StageShape) -> int | None:
    """Fewest nodes on which training, one worker a node, fits their memory."""
    if shape.memory is None or shape.executor == "slurm" or what.boosted.trees == "vector":
        return None
    nodes = max(3, shape.nodes)
    while nodes <= MOST_NODES:
        one = replace(shape, executor="runner", nodes=nodes, tasks_per_node=1, cpus_per_task=shape.cpus_per_task)
        if stage_need(what, one).memory_each <= shape.memory:
            return nodes
        nodes *= 2
    return None


def _or_more_cores(need: StageNeed) -> str:
    if need.stage in ("group", "evaluate"):
        return f", or stages.{need.stage}.cpus_per_task"
    if need.stage == "train":
        return ", or give it more cores"
    return ", or lower simulate.variants" if need.stage == "simulate" else ""
