"""How fast patterns are correlated and grouped, against the bare matrix product and scipy.

    python benchmarks/grouping.py [--n 10833] [--points 301] [--json FILE]

``vs_bare`` is time over that of the bare product, ``of_peak`` the share of the speed of a large square product
(for correlate_all of the upper triangle, which is all that is needed), ``rss`` the peak of resident memory (MiB) and
``added`` what correlate_all added to it.

Random patterns show the cost of the comparison alone: none of their pairs reaches 0.95. Families of noisy copies
show what edges, linkage and the statistics of groups add. All run in this process, on the same threads.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _table import report
from numpy.typing import NDArray
from scipy.stats import pearsonr

from hpc_mlsm.grouping.blocks import correlate_all
from hpc_mlsm.grouping.groups import build_groups
from hpc_mlsm.grouping.linkage import labels_for
from hpc_mlsm.grouping.settings import GroupSettings

SAMPLE = 2000
REPEATS = 5


def main() -> None:
    """Run all comparisons, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=10_833, help="patterns")
    parser.add_argument("--points", type=int, default=301, help="points of a pattern")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    patterns = np.random.default_rng(0).standard_normal((asked.n, asked.points), np.float32)
    rows = [*comparison(patterns), *grouping(families(asked.n, asked.points))]
    report(f"grouping {asked.n} patterns of {asked.points} points", rows, asked.json)


def comparison(patterns: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Correlating random patterns: ours first, because the peak of resident memory never falls again."""
    n, points = patterns.shape
    settings = GroupSettings()
    before = peak_rss_mib()

    def ours() -> int:
        read = patterns.__getitem__
        memory = settings.memory_bytes
        return len(correlate_all(lambda a, b: read(slice(a, b)), n, points, 0.95, memory_bytes=memory))

    edges = ours()
    after = peak_rss_mib()
    ours_s, bare_s = shortest_of_turns(ours, lambda: bare_product(patterns))
    peak = gemm_peak()
    pairs = n * (n - 1) // 2
    scipy_s = pearsonr_per_pair(patterns) * pairs
    return [
        {"what": "bare float32 product, n × n", "time_s": bare_s, "vs_bare": 1.0,
         "gflops": 2e-9 * n * n * points / bare_s, "of_peak": 2e-9 * n * n * points / bare_s / peak},
        {"what": "correlate_all", "time_s": ours_s, "vs_bare": ours_s / bare_s,
         "gflops": 2e-9 * pairs * points / ours_s, "of_peak": 2e-9 * pairs * points / ours_s / peak,
         "edges": edges, "rss": after, "added": after - before},
        {"what": f"pearsonr, extrapolated from {SAMPLE} pairs", "time_s": scipy_s,
         "vs_bare": scipy_s / bare_s},
    ]  # fmt: skip


def grouping(patterns: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Every step from families of patterns to groups."""
    n, points = patterns.shape
    ids = [f"s{k:07d}" for k in range(n)]

    def read(start: int, stop: int) -> NDArray[np.float32]:
        return patterns[start:stop]

    time_s, edges = timed(lambda: correlate_all(read, n, points, 0.95))
    labels_for(ids[:2], correlate_all(read, 2, points, 0.0), "complete")  # loads what numba has compiled
    rows = [{"what": "families: correlate_all", "time_s": time_s, "edges": len(edges)}]
    for linkage in ("single", "leader", "complete"):
        time_s, labels = timed(lambda linkage=linkage: labels_for(ids, edges, linkage))
        rows.append({"what": f"families: {linkage}", "time_s": time_s, "groups": int(labels.max()) + 1})
        time_s, groups = timed(lambda labels=labels: build_groups(ids, labels, read))
        lowest = min(group.min_correlation for group in groups)
        rows.append(
            {"what": f"families: build_groups, {linkage}", "time_s": time_s, "groups": len(groups),
             "largest": max(map(len, groups)), "lowest_r": lowest}
        )  # fmt: skip
    return rows


def bare_product(patterns: NDArray[np.float32], block: int = 1024) -> None:
    """All n × n products, block by block into one buffer, looked at by nobody."""
    n = len(patterns)
    buffer = np.empty((block, block), np.float32)
    for top in range(0, n, block):
        a = patterns[top : top + block]
        for left in range(0, n, block):
            b = patterns[left : left + block]
            np.matmul(a, b.T, out=buffer[: len(a), : len(b)])


def gemm_peak() -> float:
    """GFLOP/s of a float32 product of two large square matrices."""
    a, b = np.random.default_rng(1).random((2, 3072, 3072), np.float32)
    return 2e-9 * 3072**3 / shortest_of_turns(lambda: a @ b)[0]


def pearsonr_per_pair(patterns: NDArray[np.float32]) -> float:
    """Seconds that scipy takes for a pair."""
    chosen = np.random.default_rng(2).integers(0, len(patterns), (SAMPLE, 2))
    start = time.perf_counter()
    for i, j in chosen:
        pearsonr(patterns[i], patterns[j])
    return (time.perf_counter() - start) / SAMPLE


def families(n: int, points: int) -> NDArray[np.float32]:
    """Noisy copies of n / 3 curves, families of unequal size, on both sides of the threshold."""
    rng = np.random.default_rng(3)
    kinds = max(1, n // 3)
    family = (kinds * rng.random(n) ** 2).astype(int)
    noise = rng.uniform(0.05, 0.35, (n, 1)) * rng.standard_normal((n, points))
    return (rng.standard_normal((kinds, points))[family] + noise).astype(np.float32)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of one run, and what it returned."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def shortest_of_turns(*works: Callable[[], Any]) -> list[float]:
    """Shortest run of each, in seconds; they take turns, so that what else the machine does hits all alike."""
    turns = [[timed(work)[0] for work in works] for _ in range(REPEATS)]
    return [min(times) for times in zip(*turns, strict=True)]


def peak_rss_mib() -> float:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
