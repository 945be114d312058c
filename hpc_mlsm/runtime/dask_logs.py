"""Dask's loggers, made quiet: what users must know comes as events and errors. How workers died is kept for these."""

import logging
import re
from collections import deque

# Dask gives each of these a handler of its own.
_LOGGERS = ("distributed", "distributed.client", "distributed.gc", "tornado", "tornado.application", "bokeh")
_DEATH = re.compile(r"Worker process (\d+) (was killed by .*|exited with status \d+)")
_MEMORY = re.compile(r"pid=(\d+)\) exceeded \d+% memory budget")


class LastWords(logging.Handler):
    """Keeps what nannies say of worker processes that died, by process id."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._said: deque[tuple[int, str]] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that tells of a death; drop all others."""
        text = record.getMessage()
        if found := _MEMORY.search(text):
            self._said.append((int(found[1]), "was ended for growing beyond its memory limit"))
        elif found := _DEATH.search(text):
            self._said.append((int(found[1]), found[2]))

    def of(self, pid: int) -> str:
        """How the process died, as far as it is known; the memory limit rather than the signal that it was ended by."""
        return next((text for said_of, text in self._said if said_of == pid), "")


last_words = LastWords()


def quieten() -> None:
    """Have no logger of Dask write to the terminal, in this process and for good."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [last_words]
        logger.propagate = False
        logger.setLevel(logging.CRITICAL)
    # Nannies tell of signals and exit statuses at this level.
    logging.getLogger("distributed.nanny").setLevel(logging.INFO)
