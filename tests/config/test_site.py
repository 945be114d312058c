"""Profiles of sites are found by name, and refused with the key where something in them is wrong."""

from pathlib import Path

import pytest

from hpc_mlsm.config.load import parse_settings
from hpc_mlsm.config.site import SHIPPED, SiteProfile, load_site, memory_bytes, seconds
from hpc_mlsm.errors import ConfigError

EXAMPLES = ("cpu-cluster", "gpu-cluster", "isolated-nodes", "lab")


def refused(raw: dict[str, object]) -> str:
    """What is said when the profile is refused."""
    with pytest.raises(ConfigError) as caught:
        parse_settings(raw, SiteProfile, "mine.yaml")
    return str(caught.value)


def test_the_shipped_profiles_are_the_lab_and_three_examples() -> None:
    assert tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml"))) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_shipped_profile_is_valid_and_says_what_it_is(name: str) -> None:
    site = load_site(name, {"HOME": "/nowhere"})
    assert site.description
    assert site.partition


def test_the_examples_differ_in_what_clusters_differ_in() -> None:
    cpu, gpu, isolated = (load_site(name, {}) for name in ("cpu-cluster", "gpu-cluster", "isolated-nodes"))
    assert cpu.stages.simulate.nodes > 1
    assert not cpu.stages.train.gpus
    assert gpu.stages.train.gpus
    assert gpu.stages.train.partition != gpu.partition
    assert not isolated.nodes_reach_login
    assert isolated.stages.simulate.executor == "mpi"


def test_an_empty_profile_is_one_node_and_the_clusters_defaults() -> None:
    site = parse_settings({}, SiteProfile, "mine.yaml")
    assert site == SiteProfile()
    assert (site.partition, site.stages.train.nodes, site.stages.train.executor) == (None, 1, "local")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"partitoin": "a"}, "unknown key partitoin; did you mean partition?"),
        ({"stages": {"simulat": {}}}, "unknown key stages.simulat; did you mean simulate?"),
        ({"stages": {"train": {"gpu": 1}}}, "unknown key stages.train.gpu; did you mean gpus?"),
        ({"launcher": "aprun"}, "launcher: found 'aprun' (str); should be 'srun', 'mpirun' or 'none'"),
        ({"stages": {"train": {"nodes": 0}}}, "stages.train.nodes: found 0 (int); should be greater than"),
        ({"stages": {"train": {"walltime": 43200}}}, "stages.train.walltime: found 43200 (int); expected text"),
        ({"stages": {"train": {"walltime": "12h"}}}, "stages.train.walltime: found '12h'; expected hours:minutes"),
        ({"stages": {"train": {"memory": "lots"}}}, "stages.train.memory: found 'lots'; expected memory"),
        ({"stages": {"train": {"memory": 16}}}, "stages.train.memory: found 16 (int); expected text"),
        ({"stages": {"train": {"nodes": 2}}}, "stages.train.executor: local is started once, but 2 tasks"),
        ({"stages": {"train": {"executor": "runner"}}}, "stages.train.executor: runner needs 3 tasks at least"),
        ({"stages": {"train": {"executor": "slurm"}}}, "stages.train.workers: executor slurm needs to know how many"),
        (
            {"stages": {"train": {"executor": "slurm", "workers": 4, "worker_memory": "4"}}},
            "stages.train.worker_memory: found '4'; expected memory such as 4G",
        ),
        (
            {"stages": {"train": {"executor": "slurm", "workers": 4, "worker_walltime": "2h"}}},
            "stages.train.walltime: found '2h'; expected hours:minutes",
        ),
        (
            {"stages": {"train": {"worker_memory": "4G"}}},
            "stages.train.worker_memory: only executor slurm has workers in jobs of their own",
        ),
        (
            {"stages": {"train_networks": {"nodes": 3, "executor": "runner"}}},
            "stages.train_networks.executor: found runner, whose tasks are workers",
        ),
        (
            {"stages": {"train_networks": {"tasks_per_node": 4, "gpus": 2}}},
            "stages.train_networks.tasks_per_node: each rank takes one GPU, but 4 ranks of a node share 2",
        ),
        (
            {"launcher": "none", "stages": {"train_networks": {"nodes": 2}}},
            "stages.train_networks: 2 ranks need a launcher",
        ),
        ({"gpu_memory": "80"}, "gpu_memory: found '80'; expected memory of one GPU such as 80G"),
        ({"stages": {"train": {"executor": "dask"}}}, "stages.train.executor: found 'dask'"),
        ({"stages": {"train": {"options": ["-N 3"]}}}, "stages.train.options: found '-N 3'; expected an option"),
        ({"partition": "a\n#SBATCH --nodes=9"}, "partition: found 'a\\n#SBATCH --nodes=9'; expected text on one line"),
        ({"activate": ["  "]}, "activate: found '  '; expected text on one line"),
        ({"signal_before_s": 3000}, "walltime: 01:00:00 is less than twice signal_before_s = 3000 s and a minute"),
        (
            {"signal_before_s": 60, "stages": {"train": {"walltime": "00:02:59"}}},
            "walltime: 00:02:59 is less than twice",
        ),
        (
            {"launcher": "mpirun", "stages": {"simulate": {"tasks_per_node": 4, "executor": "runner"}}},
            "stages.simulate.executor: runner is started by srun, but launcher is mpirun",
        ),
        (
            {"launcher": "none", "stages": {"simulate": {"tasks_per_node": 4, "executor": "mpi"}}},
            "stages.simulate.executor: mpi needs a launcher",
        ),
        (
            {"nodes_reach_login": False, "stages": {"simulate": {"workers": 4, "executor": "slurm"}}},
            "stages.simulate.executor: slurm submits from a compute node",
        ),
    ],
)
def test_a_mistake_is_refused_with_its_place(raw: dict[str, object], words: str) -> None:
    said = refused(raw)
    assert said.startswith("mine.yaml: ")
    assert words in said


@pytest.mark.parametrize(
    ("walltime", "expected"),
    [("00:00:30", 30), ("01:00:00", 3600), ("12:30:15", 45_015), ("100:00:00", 360_000), ("2-01:00:00", 176_400)],
)
def test_a_walltime_is_a_number_of_seconds(walltime: str, expected: int) -> None:
    assert seconds(walltime) == expected


@pytest.mark.parametrize(
    ("memory", "expected"), [("900M", 900 * 2**20), ("16G", 16 * 2**30), ("2T", 2 * 2**40), ("1M", 2**20)]
)
def test_memory_is_a_number_of_bytes_in_powers_of_1024(memory: str, expected: int) -> None:
    assert memory_bytes(memory) == expected


@pytest.mark.parametrize("walltime", ["", "60", "01:00", "1:60:00", "01:00:61", "1 hour", "-1:00:00"])
def test_a_walltime_that_slurm_and_people_read_differently_is_refused(walltime: str) -> None:
    with pytest.raises(ConfigError, match="expected hours:minutes:seconds in quotes"):
        seconds(walltime)


def test_own_folders_come_before_the_users_and_the_shipped_ones(tmp_path: Path) -> None:
    first, second, config = tmp_path / "a", tmp_path / "b", tmp_path / "config"
    users = config / "hpc_mlsm" / "sites"
    for folder, names in ((first, ["x"]), (second, ["x", "y"]), (users, ["x", "y", "z", "lab"])):
        folder.mkdir(parents=True)
        for name in names:
            (folder / f"{name}.yaml").write_text(f"description: {folder.name}\n")
    environment = {"HPC_MLSM_SITES": f"{first}:{second}", "XDG_CONFIG_HOME": str(config)}
    found = [load_site(name, environment).description for name in ("x", "y", "z", "lab")]
    assert found == ["a", "b", "sites", "sites"]
    assert load_site("cpu-cluster", environment).modules


def test_a_profile_is_found_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("partition: long\n")
    assert load_site(str(tmp_path / "mine.yaml")).partition == "long"


def test_an_unknown_name_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no site 'mysite'; known are .*gpu-cluster, isolated-nodes, lab") as caught:
        load_site("mysite", {"XDG_CONFIG_HOME": str(tmp_path)})
    assert str(tmp_path / "hpc_mlsm" / "sites") in str(caught.value)


def test_a_mistake_in_a_file_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("stages: {train: {gpuz: 1}}\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml: unknown key stages\.train\.gpuz"):
        load_site(str(path))
