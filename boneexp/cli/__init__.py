"""The command line: one file per verb, with its signature, its tables and what it says."""
