"""Text: escaping, Markdown, numbers, labels, the nearest name."""
