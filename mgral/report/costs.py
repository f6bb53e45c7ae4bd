"""What each strategy costs beside what it gains: images shown to a detector, and labelled boxes.

These follow from the artefacts and the configuration, and are the same in each run; seconds are in timings/.
"""

from dataclasses import dataclass

import numpy as np

from mgral.config import registry
from mgral.engine.cost import images_measured, variant_images
from mgral.report.curves import curves
from mgral.report.drawing import Table
from mgral.report.ranking import RankingRow
from mgral.report.results import Results
from mgral.report.spread import Difference, Spread, difference_cells, difference_columns


@dataclass(frozen=True)
class CostRow:
    """A strategy's line of the table of cost and gain; the training of the cycles' detectors costs all the same."""

    strategy: str
    forward_passes: float
    """Images shown to the detector for the choice of one cycle, embeddings included; mean over seeds and cycles."""
    table_trained: int
    """Images in the training batches of a seed's lookup tables."""
    table_seen: int
    """Images embedded and evaluated for a seed's lookup tables."""
    boxes: Spread
    """Labelled boxes at the end."""
    gain: Difference | None
    """Of the curve's mean mAP, to random."""


def cost_rows(results: Results, ranked: list[RankingRow]) -> list[CostRow]:
    """Return cost and gain of each strategy, in the order of the ranking by mAP."""
    gathered = curves(results)
    return [
        CostRow(
            row.strategy,
            _forward_passes(results, row.strategy),
            _table_trained(results) if row.strategy == "mgral" else 0,
            _table_seen(results) if row.strategy == "mgral" else 0,
            Spread.of(gathered[row.strategy].boxes[:, -1]),
            row.to_random,
        )
        for row in ranked
    ]


def _forward_passes(results: Results, strategy: str) -> float:
    """The embeddings of a cycle are of all training images; those of mgral belong to its table."""
    settings = results.settings
    chosen = [
        results.selections[seed, strategy, cycle].forward_passes
        for seed in settings.seeds
        for cycle in range(settings.cycles)
    ]
    embeds = strategy != "mgral" and "embeddings" in registry.strategy(strategy).requires
    return float(np.mean(chosen)) + len(results.train.image_ids) * embeds


def _cycles_with_tables(results: Results) -> int:
    return 1 if results.settings.lut.refresh == "once" else results.settings.cycles


def _table_trained(results: Results) -> int:
    settings = results.settings
    batch, iterations = settings.training.batch_size, settings.iterations
    variants = variant_images(settings.lut, iterations, batch, settings.semi_supervised)
    return _cycles_with_tables(results) * settings.lut.splits * (batch * iterations.base + variants)


def _table_seen(results: Results) -> int:
    """A table's images are embedded, its variants, 0..K, evaluated, and the pool is pseudo-labelled."""
    settings, train = results.settings, len(results.train.image_ids)
    labelled = [settings.initial + cycle * settings.budget for cycle in range(_cycles_with_tables(results))]
    taught = sum(train - images for images in labelled) if settings.lut.labels == "pseudo_labels" else 0
    measured = sum(images_measured(settings.lut, images, train) for images in labelled)
    return len(labelled) * train + taught + measured


def costs_table(rows: list[CostRow]) -> Table:
    """Return cost and gain as numbers; the gain is between 0 and 1."""
    lines = tuple(
        {
            "strategy": row.strategy,
            "forward_passes_a_cycle": row.forward_passes,
            "table_images_trained": row.table_trained,
            "table_images_seen": row.table_seen,
            "boxes": row.boxes.mean,
            "boxes_std": row.boxes.std,
            **difference_cells("gain", row.gain),
        }
        for row in rows
    )
    columns = (
        "strategy",
        "forward_passes_a_cycle",
        "table_images_trained",
        "table_images_seen",
        "boxes",
        "boxes_std",
    )
    return Table("cost_and_gain", (*columns, *difference_columns("gain")), lines)
