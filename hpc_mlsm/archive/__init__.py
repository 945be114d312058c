"""Measured patterns in, tables of candidates out: readers, resampling, filters and result files."""
