"""The fidelity experiment: how well looked-up rewards predict the measured gains of batches."""
