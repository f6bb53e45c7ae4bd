"""Devices: which GPUs there are, how jobs share them, training in several processes; and the progress of loops."""
