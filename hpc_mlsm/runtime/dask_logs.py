"""Dask's loggers, made quiet: what users must know comes as events and errors. How workers died is told to the driver.

A worker that dies cannot say why, but the nanny that watches over it on its node can.
"""

import logging
import os
import platform
import re
from typing import Any

from dask.distributed import NannyPlugin

# Dask gives each of these a handler of its own.
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "bokeh")
_DEATH = re.compile(r"Worker process (\d+) (was killed by .*|exited with status \d+)")
_MEMORY = re.compile(r"pid=(\d+)\) exceeded \d+% memory budget")

REPORTS = "hpc-mlsm"
"""Topic of Dask's events under which the driver hears of its workers."""


def place_here() -> dict[str, str]:
    """The Slurm job that this process is in, and its node by the name that Slurm has for it, if any."""
    return {
        "job": os.environ.get("SLURM_JOB_ID", ""),
        "node": os.environ.get("SLURMD_NODENAME") or platform.node(),
    }


class _LastWords(logging.Handler):
    """Passes on what this process's nannies say of worker processes that died."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.nannies: list[Any] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Report a record that tells of a death; drop all others."""
        text = record.getMessage()
        if found := _MEMORY.search(text):
            self._report(int(found[1]), "was ended for growing beyond its memory limit")
        elif found := _DEATH.search(text):
            self._report(int(found[1]), found[2])

    def _report(self, pid: int, text: str) -> None:
        for nanny in self.nannies[-1:]:
            nanny.log_event(REPORTS, {"kind": "death", "pid": pid, "text": text, **place_here()})


_last_words = _LastWords()


class DeathReports(NannyPlugin):
    """Has nannies, wherever they are, report how their workers died."""

    name = "hpc-mlsm-death-reports"

    def setup(self, nanny: Any) -> None:
        """Called by Dask in the nanny's process, which may have several nannies."""
        _last_words.nannies.append(nanny)
        logger = logging.getLogger("distributed.nanny")
        if _last_words not in logger.handlers:
            logger.addHandler(_last_words)
        # Nannies tell of signals and exit statuses at this level.
        if logger.getEffectiveLevel() > logging.INFO:
            logger.setLevel(logging.INFO)

    def teardown(self, nanny: Any) -> None:
        """Called by Dask when the nanny ends."""
        if nanny in _last_words.nannies:
            _last_words.nannies.remove(nanny)


def quieten() -> None:
    """Have no logger of Dask write to the terminal, in this process and for good."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
