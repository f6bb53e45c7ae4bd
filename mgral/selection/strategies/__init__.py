"""Strategies, a module each."""
