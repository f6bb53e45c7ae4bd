"""All steps from the labelled images to the lookup tables, in one call."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from mgral.config import Config
from mgral.data.image_set import ImageSet
from mgral.method.lut.pseudo_labels import label_pool
from mgral.method.lut.reward import AnyTables, as_tables
from mgral.method.lut.subsets import plan_subsets
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.method.lut.variants import train_base, train_variants
from mgral.models.interface import DetectorModel
from mgral.selection.embeddings import Embeddings


def build_table(
    config: Config,
    data: ImageSet,
    labelled: npt.NDArray[np.int64],
    detector: DetectorModel,
    embeddings: Embeddings,
    seed: int,
    cycle: int = 0,
    *,
    weights: Path | None = None,
    gpus: int = 0,
) -> AnyTables:
    """Train the variants of `lut.splits` reward splits, and make a lookup table from each split.

    It does in one process what the steps pseudo_labels, subsets, base, variant and table do in parallel jobs. It does
    not read labels of the pool.

    Parameters
    ----------
    labelled
        Ids of the labelled images, int64 [n].
    detector
        The cycle's detector. With `lut.labels: pseudo_labels` it makes the pseudo-labels.
    embeddings
        Embeddings of all training images.
    weights
        The file that the step `weights` wrote, if `detector.weights` names some.
    gpus
        0 for the CPU, 1 for a GPU.
    """
    labelled = np.sort(labelled)
    pseudo_labels = label_pool(config, data, labelled, detector) if config.lut.labels == "pseudo_labels" else None
    tables = []
    for split in range(config.lut.splits):
        seed_cycle_split = seed, cycle, split
        plan = plan_subsets(config, data.dataset, labelled, embeddings, *seed_cycle_split)
        base = train_base(config, data, plan, *seed_cycle_split, weights=weights, gpus=gpus)
        numbers = range(len(plan.subsets))
        variants = train_variants(config, data, plan, base, numbers, *seed_cycle_split, pseudo_labels=pseudo_labels)
        arrays, _ = table_arrays(VariantScores.of(variants), plan, embeddings, config.embedding, config.reward, seed)
        tables.append(arrays)
    return as_tables(tables, embeddings, config.embedding, config.reward)
