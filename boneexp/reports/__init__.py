"""Model card, report and page, written from the ledger and checked against it."""
