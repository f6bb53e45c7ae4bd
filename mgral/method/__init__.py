"""The method of the paper: lookup table, agent, and how faithful its reward is."""
