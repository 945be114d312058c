"""What the training of a run's network needs, here and on GPUs of a site."""

from collections.abc import Sequence

import numpy as np

from hpc_mlsm.catalog.database import Catalogue
from hpc_mlsm.config.run_config import RunConfig
from hpc_mlsm.config.site import SiteProfile, memory_bytes
from hpc_mlsm.models.cnn_settings import CnnSettings
from hpc_mlsm.plan.networks import GPU_FLOPS, Accelerator, NetworkNeed, network_need
from hpc_mlsm.stages.run_directory import RunDirectory
from hpc_mlsm.stages.taught_symmetry import relabelled, taught_group
from hpc_mlsm.structures.labels import CRYSTAL_SYSTEMS, system_labels

GPUS = (1, 8)
"""For so many GPUs training is projected."""

FOLDS = 10


def class_patterns(run: RunDirectory, config: RunConfig, ids: Sequence[str]) -> tuple[int, ...]:
    """Patterns of each crystal system that the structures of a run give."""
    with Catalogue(run.catalogue, read_only=True) as catalogue:
        summaries = list(catalogue.summaries(ids))
        changed = relabelled(catalogue, summaries, config.classify.symmetry)
    labels = system_labels([taught_group(one, changed) for one in summaries])
    counted = np.bincount(labels, minlength=len(CRYSTAL_SYSTEMS)) * config.simulate.variants
    return tuple(int(count) for count in counted)


def scaled_to(counts: Sequence[int], patterns: int | None) -> tuple[int, ...]:
    """The same shares of classes among another number of patterns; of equal shares where there are none."""
    if patterns is None:
        return tuple(counts)
    shares = np.array(counts, dtype=float) if sum(counts) else np.ones(len(counts))
    return tuple(int(count) for count in np.round(patterns * shares / shares.sum()))


def gpu_of(site: SiteProfile | None) -> Accelerator:
    """One GPU of a site, or of none in particular."""
    if site is None or site.gpu_tflops is None:
        basis = (
            f"{GPU_FLOPS / 1e12:g} TFLOP/s in training, which is assumed, not measured (gpu_tflops of a site's profile)"
        )
        flops = GPU_FLOPS
    else:
        flops = 1e12 * site.gpu_tflops
        basis = f"{site.gpu_tflops:g} TFLOP/s in training, as the site's profile says"
    memory = None if site is None or site.gpu_memory is None else float(memory_bytes(site.gpu_memory))
    return Accelerator("gpu", flops, memory, basis)


def network_needs(
    settings: CnnSettings, n_points: int, counts: Sequence[int], on: Accelerator, ranks: Sequence[int] = GPUS
) -> tuple[NetworkNeed, ...]:
    """Training and tenfold cross-validation on several numbers of ranks."""
    return tuple(network_need(settings, n_points, counts, FOLDS, on, number) for number in ranks)
