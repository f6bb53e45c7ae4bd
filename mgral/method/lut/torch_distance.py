"""The sliced Wasserstein distance computed by torch, for GPUs."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mgral.method.lut.wasserstein import SlicedDistance, merged_levels

CHUNK_VALUES = 1 << 28
"""Number of values of quantile functions in memory at a time: 1 GB."""


class PoolSlicedDistance:
    """Sliced W_1 from batches of a pool to K fixed sets; equal to `SlicedDistance` except for rounding.

    Each image is projected once. W_1 of two projected sets is the L_1 distance between their quantile functions,
    which are constant between their jumps. So it is the L_1 distance between two vectors: the values on the pieces,
    multiplied by the widths of the pieces. torch computes it for all batches and sets in one call.
    """

    def __init__(self, pool: npt.NDArray[np.float32], sliced: SlicedDistance, device: str) -> None:
        """Project the embeddings of the pool, float32 [N, D], on the directions of a table."""
        self._device = torch.device(device)
        self._projected = torch.from_numpy(pool).to(device)
        if sliced.projections is not None:
            self._projected = self._projected @ torch.tensor(sliced.projections, device=device)
        self._sorted = torch.tensor(sliced.sorted.transpose(1, 0, 2), device=device)

    def __call__(self, batches: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return the distances, float64 [S, K], of batches, rows of the pool int64 [S, B], to the K sets."""
        return self._on_cpu(batches, lambda distances: distances.mean(dim=0))

    def along_directions(self, batches: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return W_1 along each direction, float64 [S, K, P], of batches, rows of the pool int64 [S, B]."""
        return self._on_cpu(batches, lambda distances: distances.permute(1, 2, 0))

    @torch.no_grad()
    def _on_cpu(self, batches: npt.NDArray[np.int64], gather: Callable[[Tensor], Tensor]) -> npt.NDArray[np.float64]:
        levels = merged_levels(batches.shape[1], self._sorted.shape[2])
        batch_indices, set_indices, widths = (torch.from_numpy(level).to(self._device) for level in levels)
        sets = self._sorted[..., set_indices] * widths
        step = max(1, CHUNK_VALUES // (len(sets) * len(widths)))
        parts = []
        for rows in torch.split(torch.from_numpy(batches).to(self._device), step):
            values = self._projected[rows].permute(2, 0, 1).sort(dim=-1).values
            parts.append(gather(torch.cdist(values[..., batch_indices] * widths, sets, p=1)))
        distances: npt.NDArray[np.float64] = torch.cat(parts).double().cpu().numpy()
        return distances
