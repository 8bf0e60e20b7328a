"""Measurements of the figures that the project promises itself; not part of the tests."""
