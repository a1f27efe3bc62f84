"""Flux standards and the calibrators that are known by name and place."""
