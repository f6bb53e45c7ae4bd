"""Benchmarks: timings of this machine, which no artefact depends on."""
