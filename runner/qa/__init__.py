"""Quality assessment: metrics (arrays in, numbers out), their collection, plots."""
