"""Devices: which GPUs there are, on which one to compute, and training in several processes."""
