"""Arrays in, numbers out. Knows no runs."""
