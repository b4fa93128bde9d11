"""Sentences about what was found."""
