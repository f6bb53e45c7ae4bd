"""Training a detector: batches, augmentation, the consistency loss and the loop."""
