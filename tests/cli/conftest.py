from site_program import folder  # noqa: F401  (a fixture)
from slurm_lab import slurm_lab  # noqa: F401  (a fixture)
