"""The cost of each strategy beside its gain: images shown to a detector, and labelled boxes.

These follow from the artefacts and the configuration, and are the same in each run; seconds are in timings/.
"""

from collections import defaultdict
from dataclasses import dataclass
from statistics import mean

import pandas as pd

from mgral.config import registry
from mgral.engine.cost import detector_images, reward_images, table_images
from mgral.report.drawing import Table
from mgral.report.ranking import RankingRow
from mgral.report.results import Results, images_labelled, table_rounds
from mgral.report.spread import PairedDifference, Spread


@dataclass(frozen=True)
class CostRow:
    """A strategy's row of the table of costs and gains, without cycles' detectors, which cost the same for all."""

    strategy: str
    forward_passes: float
    """Images shown to the detector for the choice of one cycle, embeddings included; mean over seeds and cycles."""
    head: int
    """Images in the training batches for its head in one cycle, a training of the detector too; 0 without a head."""
    table: str
    """Name of the lookup tables that it chooses by; empty without."""
    boxes: Spread
    """Labelled boxes at the end."""
    gain: PairedDifference | None
    """Difference of the curve's mean mAP to random."""


@dataclass(frozen=True)
class TableCost:
    """What the lookup tables of the same settings cost a seed; several strategies can use them."""

    table: str
    strategies: tuple[str, ...]
    tables: int
    """Tables of a seed: reward splits in all rounds."""
    images_trained: int
    """Images in the training batches of their variants."""
    detectors: float
    """The same in units of the images that a detector of cycle 0 is trained on."""
    images_seen: int
    """Images embedded and evaluated for them, and those that get pseudo-labels."""


def cost_rows(results: Results, ranked: list[RankingRow]) -> list[CostRow]:
    """Return cost and gain of each strategy, in the order of a ranking by mAP."""
    config = results.config
    return [
        CostRow(
            row.strategy,
            _forward_passes(results, row.strategy),
            _head_images(results, row.strategy),
            config.name_of("table", row.strategy) if row.strategy in config.with_tables else "",
            Spread.of(results.curve(row.strategy, "boxes")[:, -1]),
            row.to_random,
        )
        for row in ranked
    ]


def _forward_passes(results: Results, strategy: str) -> float:
    """Return images shown for a choice, embeddings included; those that tables are made from count for the tables."""
    config, batches = results.config, results.batches
    passes = batches.loc[batches["strategy"] == strategy, "forward_passes"].mean()
    info = registry.strategy(config.strategies[strategy].type)
    embeds = strategy not in config.with_tables and "embeddings" in info.files
    return float(passes) + len(results.train.image_ids) * embeds


def _head_images(results: Results, strategy: str) -> int:
    """Return `CostRow.head`, the mean over cycles and seeds; derived lengths of trainings differ by seed."""
    config = results.config
    if "head" not in registry.strategy(config.strategies[strategy].type).requires:
        return 0
    labelled = [images_labelled(results, (strategy,), cycle) for cycle in range(config.cycles)]
    return round(
        mean(detector_images(settings, count) for settings in results.settings.values() for count in labelled)
    )


def table_costs(results: Results) -> list[TableCost]:
    """Return the cost of the lookup tables of each kind of settings; distances of the same table cost nothing."""
    config = results.config
    users: dict[str, list[str]] = defaultdict(list)
    for strategy in config.with_tables:
        users[config.name_of("table", strategy)].append(strategy)
    return [_table_cost(results, table, tuple(strategies)) for table, strategies in users.items()]


def _table_cost(results: Results, table: str, strategies: tuple[str, ...]) -> TableCost:
    """Count for each round the embeddings of all images, the pseudo-labels and the evaluations of variants 0..K."""
    config, train_images = results.config.for_strategy(strategies[0]), len(results.train.image_ids)
    lut = config.lut
    # Lengths that are derived differ by seed.
    seed_configs = [
        config.model_copy(update={"iterations": settings.iterations}) for settings in results.settings.values()
    ]
    rounds = table_rounds(config, strategies)
    tables, images_trained, images_seen = sum(rounds.values()), 0.0, 0
    for (_, cycle), splits in rounds.items():
        labelled = images_labelled(results, strategies, cycle)
        pseudo_labelled = train_images - labelled if lut.labels == "pseudo_labels" else 0
        images_seen += (
            train_images + pseudo_labelled + splits * (lut.variants + 1) * reward_images(lut, labelled, train_images)
        )
        images_trained += splits * mean(table_images(seed_config, labelled) for seed_config in seed_configs)
    per_detector = mean(detector_images(seed_config, config.initial) for seed_config in seed_configs)
    return TableCost(table, strategies, tables, round(images_trained), images_trained / per_detector, images_seen)


def costs_table(rows: list[CostRow]) -> Table:
    """Return the cost of the strategies in images; boxes are in `detectors.csv`, and gains in `ranking.csv`."""
    lines = [
        {
            "strategy": row.strategy,
            "forward_passes_a_cycle": row.forward_passes,
            "head_images_a_cycle": row.head,
            "table": row.table,
        }
        for row in rows
    ]
    return Table("cost", pd.DataFrame(lines))


def table_costs_table(costs: list[TableCost]) -> Table:
    """Return the cost of the lookup tables as numbers."""
    return Table("cost_of_tables", pd.DataFrame(costs).drop(columns=["strategies", "detectors"]))
