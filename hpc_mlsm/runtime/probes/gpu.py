"""GPUs as the driver, XGBoost and TensorFlow see them."""

import importlib.util
import json
import shutil
import subprocess
import sys

from hpc_mlsm.runtime.probes.finding import Finding

TIMEOUT_S = 180.0

_XGBOOST = """
import json, numpy, xgboost
build = xgboost.build_info()
matrix = xgboost.DMatrix(numpy.ones((2, 1)), label=numpy.zeros(2))
with xgboost.config_context(verbosity=0):
    booster = xgboost.Booster({"device": "cuda"}, cache=[matrix])
    used = json.loads(booster.save_config())["learner"]["generic_param"]["device"]
    if used.startswith("cuda"):
        booster.update(matrix, 0)
print(json.dumps({"version": xgboost.__version__, "cuda": build.get("CUDA_VERSION"),
                  "built": bool(build.get("USE_CUDA")), "device": used}))
"""

_TENSORFLOW = """
import json, tensorflow
build = tensorflow.sysconfig.get_build_info()
print(json.dumps({"version": tensorflow.__version__, "cuda": build.get("cuda_version"),
                  "gpus": len(tensorflow.config.list_physical_devices("GPU"))}))
"""


def check_gpus(where: str, asked: int | None) -> list[Finding]:
    """GPUs of this node.

    Parameters
    ----------
    asked
        How many the job asked for; 0 for none, None where nobody said (what is there is then only told).
    """
    if asked == 0:
        return [Finding("GPU", where, "not asked for", "no stage of this kind asks for GPUs")]
    driver = _driver(where, asked)
    if asked is None and driver.verdict != "ok":
        return [driver]
    return [driver, _xgboost(where), _tensorflow(where)]


def _driver(where: str, asked: int | None) -> Finding:
    names = _nvidia_smi()
    if asked is None and not names:
        return Finding("GPU", where, "not asked for", "none is seen")
    found = f"{len(names)} seen{': ' + ', '.join(sorted(set(names))) if names else ''}"
    if asked and len(names) < asked:
        remedy = "check gpus:, gpu_type: and partition: of the stage, and the driver of the node"
        return Finding("GPU", where, "failure", f"{asked} asked for, {found}", remedy)
    return Finding("GPU", where, "ok", found)


def _nvidia_smi() -> list[str]:
    if shutil.which("nvidia-smi") is None:
        return []
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [" driver ".join(line.split(", ")) for line in done.stdout.splitlines() if line.strip()]


def _xgboost(where: str) -> Finding:
    check = "GPU: XGBoost"
    told, error = _asked_of_python(_XGBOOST)
    if told is None:
        return Finding(check, where, "failure", error, "install a build of XGBoost that fits the driver of the node")
    built = f"XGBoost {told['version']}, " + (f"CUDA {_dotted(told['cuda'])}" if told["built"] else "without CUDA")
    if not told["device"].startswith("cuda"):
        remedy = "set train.boosted.device to cpu" + (
            "; the driver may be older than this CUDA"
            if told["built"]
            else ", or install a build with CUDA (pip has it)"
        )
        return Finding(check, where, "failure", f"{built}, sees no GPU", remedy)
    return Finding(check, where, "ok", f"{built}, trained on {told['device']}")


def _tensorflow(where: str) -> Finding:
    check = "GPU: TensorFlow"
    if importlib.util.find_spec("tensorflow") is None:
        remedy = 'where networks are to be trained: pip install "hpc_mlsm[cnn]"'
        return Finding(check, where, "warning", "TensorFlow is not installed", remedy)
    told, error = _asked_of_python(_TENSORFLOW)
    if told is None:
        return Finding(check, where, "failure", error, 'install it again: pip install "hpc_mlsm[cnn]"')
    figure = f"TensorFlow {told['version']}, CUDA {told['cuda'] or 'none'}, {told['gpus']} GPUs"
    if not told["gpus"]:
        remedy = 'install its CUDA libraries, pip install "tensorflow[and-cuda]", or load the module of that CUDA'
        return Finding(check, where, "failure", figure, remedy)
    return Finding(check, where, "ok", figure)


def _asked_of_python(code: str) -> tuple[dict[str, str] | None, str]:
    """What the code prints last, as JSON, in a process of its own: libraries of GPUs may crash, and take long."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None, f"no answer within {TIMEOUT_S:.0f} s"
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        return None, f"{lines[-1]} (exit status {done.returncode})"
    return json.loads(done.stdout.strip().splitlines()[-1]), ""


def _dotted(version: object) -> str:
    return ".".join(map(str, version)) if isinstance(version, list | tuple) else str(version)
