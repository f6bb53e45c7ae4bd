"""A plug-in: the brightest of the images in which the detector finds something."""

import numpy as np

from mgral.config.registry import register
from mgral.selection.inference import objects_of_pool
from mgral.selection.query import Choice, Query


@register("brightness", "mean brightness, of images in which something is found", requires=("detections",))
def choose(query: Query) -> Choice:
    """Choose the brightest images; those without an object come last."""
    found = [len(objects.scores) > 0 for objects in objects_of_pool(query, "brightness")]
    assert query.images is not None
    pixels = query.images.read(query.dataset.rows(query.pool))
    scores = np.where(found, pixels.mean(axis=(1, 2, 3)), -1.0)
    return Choice.best(scores, query.budget, len(query.pool))
