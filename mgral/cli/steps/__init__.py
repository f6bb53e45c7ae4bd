"""The commands of the pipeline's steps: each parses, reads, calls a function of another package, and writes."""
