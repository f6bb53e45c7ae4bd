"""Files between steps: written completely or not at all, read with a check, and random seeds by purpose."""
