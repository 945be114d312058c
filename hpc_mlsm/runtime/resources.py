"""What this process may use of the machine: cores and memory as affinity, cgroups and the batch system allow."""

import os


def usable_cores() -> int:
    """Cores that this process may use: the least of affinity, cgroup quota and the Slurm allocation on this node."""
    from dask.system import cpu_count

    allocated = _positive("SLURM_CPUS_PER_TASK") or _positive("SLURM_CPUS_ON_NODE")
    cores = int(cpu_count())
    return min(cores, allocated) if allocated else cores


def usable_memory_mb() -> int:
    """Memory (MB, 10⁶ bytes) for this process and its workers: the least of machine, cgroup and Slurm allocation."""
    from distributed.system import memory_limit

    limits = [int(memory_limit() / 1e6)]
    # Slurm counts in MiB.
    if per_node := _positive("SLURM_MEM_PER_NODE"):
        limits.append(int(per_node * 2**20 / 1e6))
    elif per_cpu := _positive("SLURM_MEM_PER_CPU"):
        limits.append(int(per_cpu * usable_cores() * 2**20 / 1e6))
    return min(limits)


def _positive(variable: str) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() and int(text) > 0 else None
