"""The only room with torch: models, batches, the training loop, checkpoints, predictions, heat maps."""
