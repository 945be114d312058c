"""Patterns of one structure on a grid, as plain functions on arrays, and the sampling of variants."""
