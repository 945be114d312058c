"""YAML files and command-line overrides into frozen, validated parameters."""
