"""The look-up table: subsets, distances, estimators, and the reward of a batch."""
