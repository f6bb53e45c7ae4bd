"""Whether lookup tables know anything of batches: a permutation test over the tables of several reward splits.

Each table was measured on other images. If there is something to know, the tables agree on which batches are worth
much. They also agree a little by chance, as they have few variants and share the images' features. Tables whose
variants' values are shuffled show how much: then a value has nothing to do with its subset, and all the rest is kept.
Where values do not depend on subsets, tables are taken for valid in at most `ERROR_RATE` of the cases, whatever their
number of variants, their estimator and the spread of the values (Phipson and Smyth 2010).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mgral.artefacts.seeds import derive_seed
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.reward import AnyReward, AnyTables, MeanReward, PoolReward
from mgral.selection.query import highest

ERROR_RATE = 0.05
"""How often tables of noise may be taken for valid."""
PERMUTATIONS = 999
CANDIDATES = 500
"""Batches drawn at random."""
BEST = 50
"""Of these, the batches that the other tables rank best."""

NOT_VALID = (
    "the lookup tables agree on what is worth much no better than tables of shuffled values do (permutation test, at "
    f"an error rate of {100 * ERROR_RATE:.0f} %)"
)

Float64 = npt.NDArray[np.float64]


class Validation(NamedTuple):
    """What tables of several reward splits know of each other's rewards."""

    held_out_gain: float
    """By how much batches that the other tables rank best are above the mean in the table left out, in mAP."""
    p_value: float
    """Share of the shuffled tables that gain at least as much, in 0..1."""

    @property
    def valid(self) -> bool:
        """Whether the tables are better than shuffled ones."""
        return self.p_value <= ERROR_RATE


def validate(
    tables: AnyTables, reward: AnyReward, pool: int, budget: int, seed: int, cycle: int
) -> Validation | None:
    """Test the tables of a reward over a pool; see `validate_tables`. A regression is tested as it is learned."""
    if isinstance(tables, LearnedTables):
        return None
    assert isinstance(reward, MeanReward)
    return validate_tables(reward.rewards, pool, budget, seed, cycle)


def validate_tables(tables: Sequence[PoolReward], pool: int, budget: int, seed: int, cycle: int) -> Validation | None:
    """Test the lookup tables of several reward splits; None of one table, or where all of the pool is chosen.

    Parameters
    ----------
    pool
        Number of its images.
    """
    if len(tables) < 2 or budget >= pool:
        return None
    rng = np.random.default_rng(derive_seed(seed, "permutation test", cycle))
    batches = np.stack([rng.choice(pool, budget, replace=False) for _ in range(CANDIDATES)])
    described = [table.describe(batches) for table in tables]

    def gain(values: Sequence[Float64]) -> float:
        rewards = [table.worth(*given) for table, *given in zip(tables, described, values, strict=True)]
        return held_out_gain(np.stack(rewards))

    found = gain([table.values for table in tables])
    shuffled = [gain([rng.permutation(table.values) for table in tables]) for _ in range(PERMUTATIONS)]
    return Validation(found, (1 + sum(one >= found for one in shuffled)) / (1 + PERMUTATIONS))


def held_out_gain(rewards: Float64) -> float:
    """Return what batches that the other tables rank best gain in a table, given rewards [tables, batches].

    It is their mean reward less that of all batches, in the mean over the tables that are left out in turn.
    """
    gains = []
    for left_out, own in enumerate(rewards):
        others = np.delete(rewards, left_out, axis=0).mean(axis=0)
        gains.append(own[highest(others, BEST)].mean() - own.mean())
    return float(np.mean(gains))
