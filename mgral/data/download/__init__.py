"""Public data sets: where they are published, HTTP, and the folder that results."""
