"""Servers of labelling tools: tasks go there, and labels come back, without files in a person's hands."""
