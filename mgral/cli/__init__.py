"""The command line: a command for each step of the pipeline, and tools for people."""
