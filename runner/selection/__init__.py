"""CASA's data selection syntax, read and resolved against metadata. Pure: no CASA."""
