"""The start of an executor under ``mpirun``: the ranks of MPI_COMM_WORLD become scheduler, driver and workers.

MPI is only used to tell every rank where the scheduler is, and is finalised then: dask-mpi keeps it open, cannot hand
out certificates, and leaves its ranks waiting for a driver that died.
"""

import os
from typing import Any

from dask.distributed import Security

from hpc_mlsm.errors import ExecutorError
from hpc_mlsm.runtime.launched import join
from hpc_mlsm.runtime.meeting import SCHEDULER_RANK, Contact, Place
from hpc_mlsm.runtime.security import temporary_security
from hpc_mlsm.runtime.settings import ExecutorSettings

_WORLD_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS")


class MpiMeeting:
    """Ranks that meet in one MPI broadcast.

    Raises
    ------
    ExecutorError
        If mpi4py or the MPI library is missing, or is another one than the launcher's.
    """

    def __init__(self) -> None:
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:
            raise ExecutorError(
                f"MPI cannot be used: {error}. Install mpi4py (pip install 'hpc_mlsm[mpi]') and load the cluster's MPI"
            ) from error
        self._mpi: Any = MPI
        self._world = MPI.COMM_WORLD
        here = self._world.Split_type(MPI.COMM_TYPE_SHARED)
        self.place = Place(self._world.Get_rank(), self._world.Get_size(), here.Get_size())
        started = max((int(os.environ[name]) for name in _WORLD_SIZES if os.environ.get(name, "").isdigit()), default=1)
        if self.place.ranks == 1 and started > 1:
            raise ExecutorError(
                f"mpirun started {started} ranks, and each of them is alone: mpi4py uses another MPI "
                f"({MPI.Get_library_version().splitlines()[0].strip()}). Load the MPI that mpirun belongs to, or "
                "rebuild mpi4py for it (pip install --no-binary mpi4py --force-reinstall mpi4py)"
            )

    def security(self) -> Security:
        """A certificate for this launch, in memory only: it travels over MPI."""
        return temporary_security()

    def announce(self, contact: Contact) -> None:
        """Send the contact to all other ranks."""
        self._meet(contact)

    def learn(self) -> Contact:
        """Receive the contact from the scheduler's rank."""
        contact: Contact = self._meet(None)
        return contact

    def forget(self) -> None:
        """Nothing was left."""

    def gather(self, own: Any) -> list[Any]:
        """What each rank gives, on every rank, in the order of ranks; MPI is over then."""
        found: list[Any] = self._world.allgather(own)
        self._mpi.Finalize()
        return found

    def _meet(self, contact: Contact | None) -> Any:
        heard = self._world.bcast(contact, root=SCHEDULER_RANK)
        # From here on ranks may end one by one, and the driver without the others.
        self._mpi.Finalize()
        return heard


def join_mpi(settings: ExecutorSettings) -> None:
    """Take this rank's place in the launch by ``mpirun``; see ``join``."""
    join(MpiMeeting(), settings, "mpirun -n 4 hpc-mlsm …")
