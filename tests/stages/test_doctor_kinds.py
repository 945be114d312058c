"""Which nodes a site's stages ask for: one probe for each kind, on as many nodes as matter."""

from hpc_mlsm.config.load import parse_settings
from hpc_mlsm.config.site import SiteProfile, load_site
from hpc_mlsm.stages.doctor import node_kinds

STAGES = (
    "ingest",
    "simulate",
    "group",
    "train",
    "train_networks",
    "evaluate",
    "cross_validate",
    "predict",
    "decompose",
    "refine",
    "report",
)


def test_a_site_of_one_kind_has_one_probe_for_all_stages() -> None:
    (kind,) = node_kinds(load_site("lab", {}))
    assert (kind.stages, kind.nodes, kind.gpus, str(kind)) == (STAGES, 2, 0, "partition batch")


def test_partitions_and_gpus_are_kinds_of_their_own() -> None:
    cpu, gpu = node_kinds(load_site("gpu-cluster", {}))[:2]
    assert (cpu.partition, cpu.nodes, cpu.gpus) == ("cpu", 2, 0)
    assert (gpu.partition, gpu.nodes, gpu.gpus, gpu.constraint) == ("gpu", 1, 1, "a100_80gb")
    found = [stage for kind in node_kinds(load_site("gpu-cluster", {})) for stage in kind.stages]
    assert sorted(found) == sorted(set(STAGES) - {"cross_validate"})  # which takes what evaluate has


def test_workers_in_jobs_of_their_own_are_tried_on_two_nodes() -> None:
    raw = {"stages": {"simulate": {"executor": "slurm", "workers": 4, "qos": "high"}}}
    kinds = {kind.stages: kind for kind in node_kinds(parse_settings(raw, SiteProfile, "mine.yaml"))}
    assert kinds[("simulate",)].nodes == 2
    assert str(kinds[("simulate",)]) == "partition default, qos high"
    assert "executor" not in kinds[("simulate",)].options
