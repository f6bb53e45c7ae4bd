"""Files of labelling tools: labels that come back, tasks that go out, and the labelled set for others."""
