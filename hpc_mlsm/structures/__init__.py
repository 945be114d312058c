"""Crystal structures: CIF files, symmetry, and the built-in starter set."""
