"""One module a stage: joins what the lower layers do, and knows when its output is up to date."""
