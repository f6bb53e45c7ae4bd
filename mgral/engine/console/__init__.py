"""What `snakemake` prints: the jobs while they run, what failed and why, and the result at the end."""
