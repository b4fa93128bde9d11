"""Where an attempt computes."""
