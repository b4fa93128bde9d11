"""Files in, arrays and tables out: reading, splitting and preparing radiographs. No torch."""
