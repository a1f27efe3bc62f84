"""casarun: recipes for radio interferometry, run on CASA.

A TOML recipe is checked, planned, run with logs, limits, retries and exact
resume, and judged in a QA report. Importing this package imports no CASA.
"""

__version__: str


def __getattr__(name: str) -> str:
    """Look the version up when it is asked for: that alone takes longer than most commands."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("casarun")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
