"""Public data sets: where they are published, HTTP, safe unpacking, and the folder that results."""
