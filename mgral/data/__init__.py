"""Data sets: readers, the synthetic generator, the internal form and the image cache."""
