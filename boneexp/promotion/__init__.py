"""A person's decision: whether it may be, its files, and how it is carried out."""
