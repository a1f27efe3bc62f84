"""``python -m casarun``."""

from .cli import main

main()
