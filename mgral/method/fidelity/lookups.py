"""What tables of every kind say of the same batches."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from mgral.config import Distance, EmbeddingConfig, RewardConfig
from mgral.method.fidelity.batches import Candidate
from mgral.method.lut.estimators import estimators_of
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import RewardTable
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.selection.embeddings import Embeddings

DISTANCES: tuple[Distance, ...] = get_args(Distance)


class Kind(NamedTuple):
    """One way to look a reward up."""

    labels: str
    """`lut.labels`: what variants learn from their subsets."""
    start: str
    """`lut.start`: where they start."""
    embedding: str
    """Whose detector embeds the images: that of the `cycle`, or the `initial` one."""
    distance: str
    estimator: str


def lookup_everywhere(
    candidates: Sequence[Candidate],
    plan: SubsetPlan,
    scores: VariantScores,
    embeddings: Mapping[str, Embeddings],
    embedding: EmbeddingConfig,
    reward: RewardConfig,
    seed: int,
) -> dict[Kind, npt.NDArray[np.float64]]:
    """Return the looked-up mAP of the batches 1..M, float64 [M], by every embedding, distance and estimator.

    Parameters
    ----------
    embeddings
        By the name of the detector that made them.
    """
    found = {}
    for (name, of_images), distance in product(embeddings.items(), DISTANCES):
        batches = of_images.features_of([one.images for one in candidates[1:]], embedding)
        of_distance = reward.model_copy(update={"distance": distance})
        arrays, _ = table_arrays(scores, plan, of_images, embedding, of_distance, seed)
        for estimator in estimators_of(distance):
            table = RewardTable.of(arrays, of_distance.model_copy(update={"estimator": estimator}))
            found[Kind(plan.labels, plan.start, name, distance, estimator)] = table.lookup(batches)
    return found
