"""Rows of the ledger in, answers out: which differences are real, for whom, and what choosing has cost."""
