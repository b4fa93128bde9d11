"""`doctor`: is everything there and as it was recorded, and mending what can be mended."""
