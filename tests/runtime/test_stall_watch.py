"""A process that waits for others too long ends, and says so."""

import os
import subprocess
import sys
import time
from pathlib import Path

from hpc_mlsm.runtime.signals import RESUME_STATUS
from hpc_mlsm.runtime.stall_watch import StallWatch

STALLED = """
import ctypes, sys
from hpc_mlsm.runtime.stall_watch import StallWatch
with StallWatch(0.5, "waited {waited:.0f} s for nothing", start_s=float(sys.argv[1])) as watch:
    for beat in sys.argv[2:]:
        watch.beat(starting=beat == "starting")
    ctypes.CDLL(None).sleep(60)
"""


def stalled(start_s: float, *beats: str) -> tuple[float, "subprocess.CompletedProcess[str]"]:
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STALLED, str(start_s), *beats],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )
    return time.monotonic() - start, done


def test_a_process_that_is_stuck_in_compiled_code_ends_with_a_message() -> None:
    _, done = stalled(0.5)
    assert done.returncode == RESUME_STATUS
    assert done.stderr.startswith("hpc-mlsm: waited 1 s for nothing")


def test_the_start_may_take_longer() -> None:
    for beats in ((), ("going", "starting")):
        waited, done = stalled(3.0, *beats)
        assert waited > 3
        assert done.returncode == RESUME_STATUS
    _, done = stalled(45.0, "starting", "going")
    assert done.returncode == RESUME_STATUS


def test_it_leaves_a_process_alone_that_goes_on_and_one_that_has_ended_its_work() -> None:
    with StallWatch(2.0, "never", start_s=2.0) as watch:
        for _ in range(30):
            time.sleep(0.1)
            watch.beat()
    time.sleep(0.1)
