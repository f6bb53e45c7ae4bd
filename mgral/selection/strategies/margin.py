"""Strategy `margin`: the images with the most boxes whose two most probable classes have similar probabilities.

Source
------
Brust, Kaeding, Denzler, *Active learning for deep object detection*, VISAPP 2019, equation 1 ("1-vs-2") with their
sum over boxes.

Formula
-------
The sum over the boxes of (1 - (p1 - p2))^2, of the two most probable classes.

Differences
-----------
Their classes do not include the background, as in YOLO. Here they do, because a box that may be background is
uncertain too.
"""

import torch
from torch import Tensor

from mgral.config.registry import register
from mgral.selection.inference import objects_of_pool
from mgral.selection.query import Choice, Query


@register("margin", "closeness of the two likeliest classes, summed over boxes", requires=("detections",))
def choose(query: Query) -> Choice:
    """Choose by the sum over boxes of (1 - (p1 - p2))^2 of the two most probable classes."""
    scores = [closeness(objects.distributions.double()).sum() for objects in objects_of_pool(query, "margin")]
    return Choice.best(torch.stack(scores).numpy(), query.budget, len(query.pool))


def closeness(distributions: Tensor) -> Tensor:
    """Return (1 - (p1 - p2))^2 of the two largest probabilities of distributions [n, C + 1], [n]."""
    first, second = distributions.topk(2, dim=-1).values.unbind(-1)
    return (1 - (first - second)).square()
