"""What is read from the ledger, by subject."""
