"""Rows of the ledger to answers: ranking, verdict, paired tests, subgroups, seeds."""
