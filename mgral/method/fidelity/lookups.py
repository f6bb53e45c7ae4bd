"""Predictions of what a batch is worth: by lookup tables of every kind, and by object counts without a table."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from mgral.config import Distance, EmbeddingConfig, RewardConfig
from mgral.method.fidelity.batches import Candidate
from mgral.method.lut.estimators import estimators_of
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.plan import SubsetPlan
from mgral.method.lut.reward import as_tables
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.selection.embeddings import Embeddings

DISTANCES: tuple[Distance, ...] = get_args(Distance)


NO_TABLE = "no_table"


class LookupKind(NamedTuple):
    """One way to predict what a batch is worth."""

    labels: str
    """`lut.labels`, what variants learn from their subsets; `no_table` for a prediction without a table."""
    start: str
    """`lut.start`, from which weights variants start; empty without a table."""
    embedding: str
    """Which detector computes the embeddings of the images: that of the `cycle`, or the `initial` one."""
    distance: str
    """`reward.distance`; empty without a table."""
    estimator: str
    """`reward.estimator`; without a table `total_objects`, `roots_of_objects` or `images_of_classes`."""

    @property
    def has_table(self) -> bool:
        """Whether the prediction is looked up in tables, so that it is in mAP."""
        return self.labels != NO_TABLE

    def __str__(self) -> str:
        return ", ".join(filter(None, self)).replace("_", " ")


class Split(NamedTuple):
    """The plan of a reward split's table, and the scores of its variants on the reward images."""

    plan: SubsetPlan
    scores: VariantScores


class LookedUp(NamedTuple):
    """Predictions by one kind of lookup."""

    values: npt.NDArray[np.float64]
    """mAP of the batches 1..M, [S, M]: row n - 1 by the tables of the first n of S splits together."""
    by_prior: tuple[bool, ...]
    """For each row, whether the tables did not pass their test, so that the prior of the regression ranks batches."""


def lookup_everywhere(
    candidates: Sequence[Candidate],
    splits: Sequence[Split],
    embeddings: Mapping[str, Embeddings],
    embedding: EmbeddingConfig,
    reward: RewardConfig,
    seed: int,
) -> dict[LookupKind, LookedUp]:
    """Return the looked-up mAP of the batches 1..M by every embedding, distance and estimator.

    Several tables are used together, as strategies do: a regression learns from the variants of all of them, and the
    other estimators average over the tables.

    Parameters
    ----------
    splits
        Reward splits whose tables have the same `lut.labels` and `lut.start`.
    embeddings
        Embeddings by the name of the detector that computed them.
    """
    looked_up, batches = {}, [candidate.images for candidate in candidates[1:]]
    first_plan = splits[0].plan
    for (name, image_embeddings), distance in product(embeddings.items(), DISTANCES):
        distance_config = reward.model_copy(update={"distance": distance})
        arrays = [
            table_arrays(split.scores, split.plan, image_embeddings, embedding, distance_config, seed)[0]
            for split in splits
        ]
        for estimator in estimators_of(distance):
            estimator_config = distance_config.model_copy(update={"estimator": estimator})
            tables_by_count = [
                as_tables(arrays[:count], image_embeddings, embedding, estimator_config)
                for count in range(1, len(splits) + 1)
            ]
            kind = LookupKind(first_plan.labels, first_plan.start, name, distance, estimator)
            by_prior = tuple(
                isinstance(tables, LearnedTables) and not tables.regression.valid for tables in tables_by_count
            )
            looked_up[kind] = LookedUp(np.stack([tables.reward(batches) for tables in tables_by_count]), by_prior)
    return looked_up


def expect_without_table(
    candidates: Sequence[Candidate], labelled: npt.NDArray[np.int64], embeddings: Mapping[str, Embeddings]
) -> dict[LookupKind, npt.NDArray[np.float64]]:
    """Return three scores of the batches 1..M that need predicted objects only, float64 [M], by every embedding.

    The first is the number of objects in the batch, by which `most_objects` chooses. The second is the sum over
    classes of the square root of the objects in the labelled images and the batch, by which `sqrt_counts` chooses.
    The third is the sum over classes of log(1 + the images in both that show the class): the regression's prior.

    Parameters
    ----------
    labelled
        Objects of each class in each labelled image, int64 [n, C].
    embeddings
        Embeddings by the name of the detector that computed them.
    """
    scores = {}
    for name, image_embeddings in embeddings.items():
        batches = [candidate.images for candidate in candidates[1:]]
        batch_objects = image_embeddings.counts_of(batches).sum(axis=1, dtype=np.float64)
        batch_images = image_embeddings.presence_of(batches).sum(axis=1, dtype=np.float64)
        scores[LookupKind(NO_TABLE, "", name, "", "total_objects")] = batch_objects.sum(axis=1)
        scores[LookupKind(NO_TABLE, "", name, "", "roots_of_objects")] = np.sqrt(
            labelled.sum(axis=0) + batch_objects
        ).sum(axis=1)
        images = (labelled > 0).sum(axis=0) + batch_images
        scores[LookupKind(NO_TABLE, "", name, "", "images_of_classes")] = np.log1p(images).sum(axis=1)
    return scores
