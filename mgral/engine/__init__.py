"""How the pipeline runs: settings and steps, provenance, cost, containers, DVC stages."""
