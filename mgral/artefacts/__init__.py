"""Files between steps: written whole or not at all, read with a check, and random seeds by purpose."""
