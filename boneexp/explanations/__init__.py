"""Grad-CAM: which model and images, heat maps, overlap with the lesion, and what is recorded."""
