"""What one rank runs in tests: ``cnn_driver.py FOLDER SETTINGS [CASE]``; rank 0 leaves FOLDER/result.npz."""

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "models"))

from peaks import CLASSES, TRAIN, VALIDATION, small

from hpc_mlsm.errors import HpcMlsmError
from hpc_mlsm.models.cnn_history import EpochRecord
from hpc_mlsm.runtime.signals import RESUME_STATUS, Interrupted
from hpc_mlsm.runtime.training_ranks import own_rank
from hpc_mlsm.stages.cnn_ranks import train_on_ranks


def main() -> None:
    folder, settings = Path(sys.argv[1]), small(**json.loads(sys.argv[2]))
    case, rank = (sys.argv[3:] or [""])[0], own_rank()
    (folder / f"pid-{rank}").write_text(str(os.getpid()))

    def on_epoch(record: EpochRecord) -> None:
        with (folder / "epochs.jsonl").open("a") as log:
            log.write(json.dumps(asdict(record)) + "\n")
        if case.startswith("kill-after-") and record.epoch == int(case.rpartition("-")[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        if case.startswith("stop-after-") and record.epoch == int(case.rpartition("-")[2]):
            os.kill(os.getpid(), signal.SIGUSR1)

    data = f"data of rank {rank}" if case == "other-data" else "the data"
    try:
        trained = train_on_ranks(TRAIN, VALIDATION, CLASSES, settings, folder / "training", data, on_epoch=on_epoch)
    except Interrupted as error:
        print(f"hpc-mlsm: {error}", file=sys.stderr)
        sys.exit(RESUME_STATUS)
    except HpcMlsmError as error:
        print(f"hpc-mlsm: {error}", file=sys.stderr)
        sys.exit(1)
    if rank == 0:
        weights = {f"w{k}": array for k, array in enumerate(trained.weights)}
        np.savez(folder / "result.npz", resumed_from=trained.resumed_from, **weights)


if __name__ == "__main__":
    main()
