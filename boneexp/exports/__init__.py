"""A study for others: one archive with its verifier, and the runs in MLflow."""
