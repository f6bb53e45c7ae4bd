"""How long a detector is trained."""

from mgral.config import Config, require_set


def detector_iterations(config: Config, images: int) -> int:
    """Return the optimiser steps of a detector that learns from so many labelled images, at least 1.

    They are `iterations.detector`, those of cycle 0, times (images / `initial`)^`iterations.growth`.

    Raises
    ------
    InputError
        If `iterations.detector` is null and not derived yet.
    """
    first_iterations = require_set(config.iterations.detector, "iterations.detector")
    factor: float = (images / config.initial) ** config.iterations.growth
    return max(1, round(first_iterations * factor))
