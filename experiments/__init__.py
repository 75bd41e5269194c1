"""Experiments whose outcomes the documentation quotes. Run from the checkout, never imported by the project."""
