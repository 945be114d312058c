"""A series of patterns taken apart: correlation, principal components, non-negative components and their weights."""
