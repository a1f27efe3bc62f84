"""From journal, metrics and plots to the HTML report."""
