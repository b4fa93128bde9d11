"""Rows in, files out: comparison tables, the model card, the report."""
