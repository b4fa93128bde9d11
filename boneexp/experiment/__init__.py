"""One run, from its spec to its outcome; knows no ledger."""
