"""The door to CASA. Only modules in this package import casatools or casatasks."""
