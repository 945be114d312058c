"""The catalogue of structures: ingest of CIFs, SQLite database, selection."""
