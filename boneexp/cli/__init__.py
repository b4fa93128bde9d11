"""The command line: one file per command, with its signature, tables and messages."""
