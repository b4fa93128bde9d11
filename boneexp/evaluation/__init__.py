"""Arrays in, numbers and figures out. Knows no runs."""
