"""The conditions of a promotion."""
