"""Whether the looked-up reward of a batch says what is really gained: batches to try, lookups, correlations."""
