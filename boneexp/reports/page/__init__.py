"""artifacts/report.html."""
