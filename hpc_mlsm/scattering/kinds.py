"""The kinds of patterns that a run can simulate."""

from hpc_mlsm.scattering.powder.settings import PowderSettings
from hpc_mlsm.scattering.settings import PdfSettings

PatternSettings = PdfSettings | PowderSettings
"""Settings of a simulation; ``kind`` tells them apart, in YAML too."""
