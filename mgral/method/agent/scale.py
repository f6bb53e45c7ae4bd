"""Mean and standard deviation of a pool's embeddings, by which agents standardise them."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def mean_and_deviation(embeddings: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each dimension, float32 [D] each, of embeddings float32 [N, D]."""
    deviation = embeddings.std(axis=0, dtype=np.float64)
    # A dimension in which all images are equal has no deviation to divide by.
    deviation[deviation < 1e-6] = 1.0
    mean = embeddings.mean(axis=0, dtype=np.float64)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(deviation.astype(np.float32))
