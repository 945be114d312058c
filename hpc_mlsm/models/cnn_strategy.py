"""How ranks that train together are joined by TensorFlow, and what it says when one is lost."""

from dataclasses import dataclass
from typing import Any

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.models.cnn_networks import Device, load_tensorflow


@dataclass(frozen=True)
class RankInfo:
    """This rank among those that train together; ``addresses`` (host:port) of all where there are several."""

    rank: int = 0
    addresses: tuple[str, ...] = ()
    local_rank: int = 0

    @property
    def ranks(self) -> int:
        """How many train together."""
        return max(1, len(self.addresses))


_joined: Any = None
"""The strategy of this process."""


def make_strategy(ranks: RankInfo, device: Device) -> Any:
    """Join the other ranks; with one rank, the strategy that does nothing.

    A process joins once: for another network with the same ranks, the strategy is the same.

    Raises
    ------
    ExecutorError
        If the others are not reached.
    """
    global _joined
    tf = load_tensorflow()
    if ranks.ranks == 1:
        return tf.distribute.get_strategy()
    if _joined is not None:
        return _joined
    cluster = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(ranks.addresses)}),
        task_type="worker",
        task_id=ranks.rank,
        rpc_layer="grpc",
    )
    nccl = tf.distribute.experimental.CommunicationImplementation.NCCL
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=nccl if device.kind == "gpu" else ring)
    try:
        _joined = tf.distribute.MultiWorkerMirroredStrategy(cluster, options)
        return _joined
    except (tf.errors.OpError, RuntimeError) as error:
        raise ExecutorError(
            f"rank {ranks.rank} at {ranks.addresses[ranks.rank]} could not join the others "
            f"({', '.join(ranks.addresses)}): {str(error).splitlines()[0]}. A port may have been taken meanwhile, or a "
            "network be closed between nodes; start again, and name an interface that all nodes share"
        ) from error


def lost_errors(tf: Any) -> tuple[type[Exception], ...]:
    """What TensorFlow raises when another rank is gone."""
    names = ("UnavailableError", "AbortedError", "CancelledError", "DeadlineExceededError", "InternalError")
    return tuple(getattr(tf.errors, name) for name in names)


def reason_of(error: Exception) -> str:
    """The line of TensorFlow's long message that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if "aborted by" in line or "error from peer" in line]
    return (telling or lines[1:] or lines)[0][:300]
