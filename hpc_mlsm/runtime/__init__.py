"""Executors behind one interface, the events they tell of, signals, and the lock of a run directory."""
