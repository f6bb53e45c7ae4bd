"""Data set formats: readers, writers for `mgral convert`, and the snapshots of projects."""
