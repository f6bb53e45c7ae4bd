"""Settings of the method: embedding, lookup table, reward, agent."""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, model_validator

from mgral.config.section import Count, Fraction, Section

Estimator = Literal["regression", "kernel", "nearest"]
Distance = Literal["by_class", "sliced", "exact"]
Labels = Literal["consistency", "labels", "pseudo_labels"]
Start = Literal["warm", "cold"]
Policy = Literal["batch", "lstm"]


class EmbeddingConfig(Section):
    """The features of an image for lookup tables and agents."""

    dimensions: Count = 32
    """Principal components kept of the pooled backbone features, at most the number of training images."""
    object_counts: bool = True
    """Whether agents, and the clusters that subsets are drawn from, see the predicted object counts beside them."""


class LutConfig(Section):
    """The lookup table of detector variants."""

    splits: Count = 2
    """Ways of splitting the labelled images for rewards, with a table each. The regression learns from all of them;
    rewards by distance are the mean over them."""
    variants: Annotated[int, Field(ge=2, le=10**9)] = 12
    """K, detectors of each table that are trained on a subset each; variant 0 has no subset. With 2 the permutation
    test can find no table valid."""
    variants_per_job: Count = 1
    """Variants that one job trains, one after the other; more than 1 where they are as short as a job's start."""
    subset_size: Count | None = None
    """Images in a subset; null: as many as a strategy chooses in a cycle. Not used with `labels: labels` and `start:
    cold`."""
    clusters: Count = 8
    """k-means clusters that the subsets are mixtures of."""
    concentration: tuple[PositiveFloat, PositiveFloat] = (0.1, 10.0)
    """Smallest and largest Dirichlet concentration of the subsets' mixture weights. The smaller, the fewer clusters a
    subset draws from. They differ by equal factors; with `labels: labels` and `start: cold` their order is
    random."""
    labels: Labels = "labels"
    """What a variant learns from its subset. `labels`: labels already paid for. `pseudo_labels`: labels by the
    cycle's detector, by which rewards are measured too, on other images. `consistency`: no labels (the paper)."""
    start: Start = "cold"
    """Where variants start. `cold`: from the initial weights, as detectors do. `warm`: from base weights that all
    variants of a table share. With `cold` and `labels: labels` subsets have many sizes, and each variant is trained
    as long as a detector with as many images."""
    refresh: Literal["once", "every_cycle"] = "once"
    """Whether the table of cycle 0 serves all cycles, or each cycle trains its own."""
    reward_fraction: Fraction = 0.4
    """Part of the labelled images on which rewards are measured, and on which no variant trains."""
    reward_images: Count = 1000
    """Images of the pool on which rewards are measured under `pseudo_labels`; at most a third of it."""


class RewardConfig(Section):
    """How the table answers what a batch is worth."""

    distance: Distance = "by_class"
    """Wasserstein distance by which `kernel` and `nearest` look batches up; the regression, which needs `by_class`,
    does not use it. `by_class`: of the predicted object counts of each class, for that class's AP. `sliced` and
    `exact`: of embeddings, for mAP, over fixed random projections or exactly."""
    projections: Count = 64
    """Projections of the sliced distance."""
    estimator: Estimator = "regression"
    """`regression`: AP of each class, learned from all variants by ridge regression on features of their images.
    `kernel`: a soft mean over the variants. `nearest`: the nearest variant's value (the paper)."""

    @model_validator(mode="after")
    def _regression_is_of_classes(self) -> "RewardConfig":
        if self.estimator == "regression" and self.distance != "by_class":
            raise ValueError(
                f"reward.estimator: regression is of classes, and reward.distance: {self.distance} is not; set the "
                "estimator to kernel or nearest, or the distance to by_class"
            )
        return self


class AgentConfig(Section):
    """The agent and its policy gradient."""

    policy: Policy = "batch"
    """`batch` chooses image by image, given the images already in the batch; it needs `reward.estimator: regression`.
    `lstm` chooses by scores that an LSTM gives all images in one pass (the paper)."""
    episodes: Count = 50
    """Episodes of the agent's training."""
    samples: Annotated[int, Field(ge=2, le=10**9)] = 12
    """Batches drawn and looked up in an episode."""
    horizon: Count = 10
    """Most images of such a batch under `batch`. The trained agent chooses batches of any size."""
    learning_rate: PositiveFloat = 2e-2
    """Learning rate of the agent's Adam optimiser; under `batch` it falls linearly to 0."""
    hidden: Count = 32
    """Units of the hidden layer, and of the LSTM."""
    window: Count = 32
    """Images that the LSTM sees in a row; windows are scored in parallel."""
    baseline: Literal["moving_average", "previous"] = "moving_average"
    """What a reward is compared with under `lstm`: the moving average of past rewards, or the previous episode's
    reward. Under `batch` that is the other batches of the episode."""
    baseline_decay: Fraction = 0.9
    """Weight of the past in the moving average."""


class FidelityConfig(Section):
    """The experiment that compares looked-up rewards with measured gains: `snakemake fidelity`."""

    cycle: Annotated[int, Field(ge=0, le=10**9)] = 1
    """Cycle of strategy `random` whose labelled set and pool the batches are tried on."""
    batches: Annotated[int, Field(ge=4, le=10**9)] = 24
    """M, candidate batches: half of them drawn at random, the others chosen by strategies."""
    repeats: Annotated[int, Field(ge=2, le=10**9)] = 3
    """Detectors trained for each batch, which differ in their random numbers, so that the noise is known."""
    tables: Literal["own", "all"] = "own"
    """Lookup tables that are compared with the gains: those of the experiment's own settings, which it has anyway, or
    of every kind of labels and start, which train variants of their own."""
