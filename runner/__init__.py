"""casarun: recipes for radio interferometry, run on CASA.

A TOML recipe is checked, planned, run with logs, limits, retries and exact
resume, and judged in a QA report. Importing this package imports no CASA.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("casarun")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
