from slurm_lab import slurm_lab  # noqa: F401  (a fixture)
