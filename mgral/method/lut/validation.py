"""A permutation test whether lookup tables by distance can predict which batches are better.

The tables of several reward splits were measured on different images. If the values of the variants depend on their
subsets, the tables agree on which batches are better. They also agree a little by chance, because they have few
variants and use the same features of the images. The test measures this chance with tables in which the values are
shuffled among the variants, and everything else is the same. If values do not depend on subsets, the tables pass the
test in at most `ERROR_RATE` of the cases, for any number of variants, any estimator and any spread of the values
(Phipson and Smyth 2010).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.regression import ERROR_RATE
from mgral.method.lut.reward import AnyReward, AnyTables, MeanReward, PoolReward
from mgral.selection.query import highest

VALIDATION_PERMUTATIONS = 999
"""Number of permutations in the test of tables by distance."""
RANKED_BATCHES = 500
"""Number of batches, drawn at random, that the tables rank."""
BEST = 50
"""Number of these batches that count as the best by the other tables."""

NOT_VALID = (
    "the lookup tables agree on what is worth much no better than tables of shuffled values do (permutation test, at "
    f"an error rate of {100 * ERROR_RATE:.0f} %)"
)

Float64 = npt.NDArray[np.float64]


class Validation(NamedTuple):
    """Result of the permutation test."""

    held_out_gain: float
    """Gain, in mAP, of the batches that the other tables rank best, by the table left out; see `held_out_gain`."""
    p_value: float
    """Fraction of permutations, 0 to 1, in which this gain is at least as large."""

    @property
    def valid(self) -> bool:
        """Whether the tables passed the test."""
        return self.p_value <= ERROR_RATE


def validate(
    tables: AnyTables, reward: AnyReward, pool: int, budget: int, seed: int, cycle: int
) -> Validation | None:
    """Test tables by distance over a pool; None for a regression, which is tested when it is learned."""
    if isinstance(tables, LearnedTables):
        return None
    assert isinstance(reward, MeanReward)
    return validate_tables(reward.rewards, pool, budget, seed, cycle)


def validate_tables(tables: Sequence[PoolReward], pool: int, budget: int, seed: int, cycle: int) -> Validation | None:
    """Test the lookup tables of several reward splits; None if there is one table, or if a batch is the entire pool.

    Parameters
    ----------
    pool
        Number of images in the pool.
    budget
        Number of images in a batch.
    """
    if len(tables) < 2 or budget >= pool:
        return None
    rng = np.random.default_rng(derive_seed(seed, "permutation test", cycle))
    batches = np.stack([rng.choice(pool, budget, replace=False) for _ in range(RANKED_BATCHES)])
    distances = [table.distances(batches) for table in tables]

    def gain(values: Sequence[Float64]) -> float:
        rewards = [table.worth(*arguments) for table, *arguments in zip(tables, distances, values, strict=True)]
        return held_out_gain(np.stack(rewards))

    actual_gain = gain([table.values for table in tables])
    shuffled_gains = [
        gain([rng.permutation(table.values) for table in tables]) for _ in range(VALIDATION_PERMUTATIONS)
    ]
    return Validation(
        actual_gain,
        (1 + sum(shuffled_gain >= actual_gain for shuffled_gain in shuffled_gains)) / (1 + VALIDATION_PERMUTATIONS),
    )


def held_out_gain(rewards: Float64) -> float:
    """Return the gain of the batches that the other tables rank best, in mAP, given rewards [tables, batches].

    Each table is left out in turn. The gain is its mean reward of these batches less its mean reward of all batches,
    averaged over the tables.
    """
    gains = []
    for left_out, table_rewards in enumerate(rewards):
        mean_of_others = np.delete(rewards, left_out, axis=0).mean(axis=0)
        gains.append(table_rewards[highest(mean_of_others, BEST)].mean() - table_rewards.mean())
    return float(np.mean(gains))
