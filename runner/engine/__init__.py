"""The engine: scheduling, journal, ledger, retries, limits and executors."""
