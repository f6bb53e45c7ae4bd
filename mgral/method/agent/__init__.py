"""The agent: a recurrent scorer of images, its policy, and its training."""
