"""How long a detector is trained."""


def detector_iterations(first: int, growth: float, relative_size: float) -> int:
    """Return the optimiser steps of a detector, first * relative_size^growth, at least 1.

    Parameters
    ----------
    first
        Steps of the detector of cycle 0.
    growth
        `iterations.growth`.
    relative_size
        Labelled images, divided by those of cycle 0.
    """
    longer: float = relative_size**growth
    return max(1, round(first * longer))
