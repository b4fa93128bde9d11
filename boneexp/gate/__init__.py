"""What an experiment must show before it is promoted: conditions, judged from the ledger, never printed."""
