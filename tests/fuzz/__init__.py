"""Hostile input for every reader and parser: from hypothesis in the fast tests, coverage-guided by `make fuzz`."""
