"""Choosing images: the pool, what a detector finds in it, and the strategies."""
