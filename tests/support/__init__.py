"""What the tests share: builders of small data with known truth."""
