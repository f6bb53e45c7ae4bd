"""The lookup table: subsets, distances, estimators, and the reward of a batch."""
