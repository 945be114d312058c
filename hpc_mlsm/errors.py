"""One family of errors. All survive pickling, because they travel from workers to the driver."""


class HpcMlsmError(Exception):
    """Base of every error that the package raises on purpose; its message is fit to show to a user.

    A message names what was found, what was needed and what to do.
    """


class StructureError(HpcMlsmError):
    """A crystal structure that cannot be used.

    Parameters
    ----------
    reason : str
        Short stable code for tables and counts, such as ``"no_atoms"`` or ``"unknown_element"``.
    detail : str
        One sentence for people.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class PatternError(HpcMlsmError):
    """A measured pattern that cannot be read or does not fit the model; same fields as StructureError."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class ConfigError(HpcMlsmError):
    """A configuration that cannot be understood; says which key, what was found and what was expected."""


class CatalogueError(HpcMlsmError):
    """The structure catalogue is missing, corrupt, or of another version."""


class StoreError(HpcMlsmError):
    """A store, one of its shards or another file is missing, altered, of another version, or cannot be written."""


class BundleError(HpcMlsmError):
    """A model bundle is incomplete, altered, or does not fit what is asked of it."""


class PlanError(HpcMlsmError):
    """The work cannot fit in the memory, disk or time given; says the figure and the remedy."""


class RunError(HpcMlsmError):
    """A run directory cannot be used: in use by another process, of another version, or a stage is missing."""


class ExecutorError(HpcMlsmError):
    """The workers could not be started, were lost, or a task could not be finished."""


class PeerError(HpcMlsmError):
    """Work that several processes do together failed in this one because another was lost: seldom the cause itself."""
