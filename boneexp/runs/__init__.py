"""The queue at work."""
