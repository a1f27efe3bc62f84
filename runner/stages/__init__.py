"""Stages: each compiles its chapter of the recipe into steps."""
