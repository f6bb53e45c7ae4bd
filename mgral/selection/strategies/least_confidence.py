"""Strategy `least_confidence`: the images with the most boxes whose most probable class has a low probability.

Source
------
Lewis and Gale, *A sequential algorithm for training text classifiers*, SIGIR 1994; it is summed over the boxes of an
image, the aggregation that Brust et al. (VISAPP 2019) found best.

Formula
-------
The sum over the boxes of 1 - max p, with the background as one of the classes.
"""

import torch
from torch import Tensor

from mgral.config.registry import register
from mgral.selection.inference import objects_of_pool
from mgral.selection.query import Choice, Query


@register("least_confidence", "1 - the likeliest class, summed over boxes", requires=("detections",))
def choose(query: Query) -> Choice:
    """Choose by the sum over boxes of 1 - the probability of the most probable class, with the background as a
    class."""
    scores = [doubt(objects.distributions.double()).sum() for objects in objects_of_pool(query, "least confidence")]
    return Choice.best(torch.stack(scores).numpy(), query.budget, len(query.pool))


def doubt(distributions: Tensor) -> Tensor:
    """Return 1 - the largest probability of distributions [n, C + 1], [n]."""
    return 1 - distributions.amax(-1)
