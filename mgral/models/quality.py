"""How well each class is detected, collected while a detector is trained. PPAL weights its uncertainty by this.

Yang, Huang, Crowley, *Plug and Play Active Learning for Object Detection*, CVPR 2024, section 3.2. The authors'
average starts at zero, and moves towards zero in batches without a box of the class. So a rare class looks difficult:
a true 0.70 settles at 0.145 for a class that is in every 20th batch. Here the start is corrected for, as in Adam,
because a short training would not reach the true value, and a batch without the class does not change its average.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mgral.compute.distributed import mean_over_processes

DECAY = 0.99
"""Decay of a class's moving average in each batch that has the class."""
SCORE_EXPONENT = 0.6
"""Exponent of the true class's probability; that of the IoU is 1 minus this."""


class ClassQuality(nn.Module):
    """For each class, a moving average of p^0.6 IoU^0.4 over the anchors that are matched to its boxes."""

    average: Tensor
    batches: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(classes))
        self.register_buffer("batches", torch.zeros(classes))

    @property
    def values(self) -> Tensor:
        """The quality of each class, float32 [C] in 0..1; 0 of a class that no batch has had."""
        return self.average / (1 - DECAY**self.batches).clamp_min(1 - DECAY)

    @torch.no_grad()
    def update(self, probabilities: Tensor, overlaps: Tensor, labels: Tensor) -> None:
        """Update with the n matched anchors of a batch: probability of the class, IoU with the box, class, [n]."""
        self.take(self.sums(probabilities, overlaps, F.one_hot(labels, len(self.average))))

    def sums(self, probabilities: Tensor, overlaps: Tensor, of_class: Tensor) -> Tensor:
        """Return by class the sum of the anchors' qualities and their number, [2, C]; `of_class` is [n, C]."""
        quality = probabilities**SCORE_EXPONENT * overlaps ** (1 - SCORE_EXPONENT)
        counted = of_class.to(self.average)
        return torch.stack([quality @ counted, counted.sum(0)])

    @torch.no_grad()
    def take(self, sums: Tensor) -> None:
        """Update the averages with the `sums` of a batch."""
        sums, counts = mean_over_processes(sums)
        present = counts > 0
        moved = DECAY * self.average + (1 - DECAY) * sums / torch.where(present, counts, 1)
        self.average.copy_(torch.where(present, moved, self.average))
        self.batches += present


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Return the IoU of boxes [n, 4] with `others` [n, 4], pair by pair, [n]."""
    sides = (torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])).clamp(min=0)
    intersection = sides.prod(dim=1)
    areas = [(tensor[:, 2:] - tensor[:, :2]).prod(dim=1) for tensor in (boxes, others)]
    return intersection / (areas[0] + areas[1] - intersection)
