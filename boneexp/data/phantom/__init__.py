"""A synthetic dataset in BTXRD's layout."""
