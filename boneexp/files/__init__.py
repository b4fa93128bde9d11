"""Whole files, several at once, the folders of a study, locks."""
