"""Strategy `entropy`: the images whose classes the detector is least certain of."""

import numpy as np
import numpy.typing as npt


def image_entropy(class_probabilities: npt.NDArray[np.float32]) -> float:
    """Return the mean entropy, in nats, of an image's class distributions, [n, C] with rows adding up to 1.

    0 for an image without any, of which the detector is sure that nothing is there.
    """
    if len(class_probabilities) == 0:
        return 0.0
    probabilities = class_probabilities.astype(np.float64)
    logs = np.log(probabilities, out=np.zeros_like(probabilities), where=probabilities > 0)
    return float(-(probabilities * logs).sum(axis=1).mean())
