"""What is tried out on a login node and on compute nodes before a run is sent there: one finding a check."""
