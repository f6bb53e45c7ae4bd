"""The agents of `mgral` and `paper`: networks that score images, their policies and their training."""
