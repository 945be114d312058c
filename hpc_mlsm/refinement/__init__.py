"""Fitting of one structure to one measured PDF."""
