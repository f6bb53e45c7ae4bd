"""The lookup tables: subsets, variants, distances, estimators, and the reward of a batch."""
