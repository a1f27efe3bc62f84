"""What users do wrong, and what casarun says of it: recipes, datasets, CASA, machines."""
