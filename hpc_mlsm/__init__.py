"""From crystal structures to trained classifiers, and from beamtime archives to answers, as batch jobs."""

__version__ = "0.1.0"
