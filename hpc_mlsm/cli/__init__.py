"""The command line: parses, validates, calls one stage."""
