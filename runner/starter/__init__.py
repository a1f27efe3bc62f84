"""A starter recipe, written from a dataset's own metadata."""
