"""The settings of an experiment in words, for its report."""

import json
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from mgral.config import BudgetConfig, CocoData, Config, ProjectData, RewardConfig, SyntheticData, in_words
from mgral.report.results import Results, images_labelled


def knows_boxes(config: Config) -> bool:
    """Whether the pool was made with knowledge that only an oracle has: which images contain an object."""
    return isinstance(config.data, CocoData) and config.data.pool == "with_boxes"


def instances(config: Config) -> list[tuple[str, str, str]]:
    """Return name, type and own settings of each strategy; none where all have the experiment's settings."""
    strategies = config.model_dump(mode="json")["strategies"]
    rows = [
        (name, settings.pop("type"), ", ".join(_flat_settings(settings))) for name, settings in strategies.items()
    ]
    return rows if any(name != kind or settings for name, kind, settings in rows) else []


def _flat_settings(settings: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat_settings(value, f"{place}{key}.")
        else:
            yield f"{place}{key}: {json.dumps(value)}".replace('"', "")


def experiment_line(results: Results) -> str:
    """Return in a line what was compared, on which data, with which detector."""
    config = results.config
    names, seeds = len(config.strategies), len(config.seeds)
    by_command = config.detector.command_gives is not None
    in_boxes = " images" * isinstance(config.budget, BudgetConfig)
    parts = [
        f"{names} {'strategy' if names == 1 else 'strategies'}",
        f"{seeds} seed{'s' * (seeds > 1)}",
        f"{config.initial}{in_boxes} + {config.cycles} × {in_words(config.budget)}",
        _data_name(results),
        "a detector of your own" if by_command else config.detector.trained.name,
    ]
    return " · ".join(parts)


def facts(results: Results) -> list[tuple[str, str]]:
    """Return the settings of the experiment that a reader asks for, by name."""
    config = results.config
    train = results.train
    plural = "s" * (len(config.seeds) > 1)
    width, height = results.settings[config.seeds[0]].detector.image_canvas.input_size
    lengths = sorted({str(settings.iterations.detector) for settings in results.settings.values()}, key=int)
    by_command = config.detector.command_gives is not None
    entries = [
        ("Data", _data_name(results)),
        ("Training images", f"{len(train.image_ids):,} with {int(results.class_counts.sum()):,} boxes"),
        ("Test images", f"{results.test_images:,} with {results.test_boxes:,} boxes"),
        ("Classes", str(len(train.categories))),
        (
            "Labels",
            f"{config.initial} images at the start, {in_words(config.budget)} a cycle, {config.cycles} cycles",
        ),
        ("At the end", final_labels_in_words(results)),
        (f"Seed{plural}", ", ".join(map(str, config.seeds))),
        *([("Detector", "external, by detector.command")] if by_command else []),
        ("Proxy" if by_command else "Detector", f"{config.detector.trained.name}, {width} × {height} px"),
        (
            "Training of the proxy" if by_command else "Training",
            f"{' or '.join(lengths)} iterations of {config.training.batch_size} images in cycle 0, "
            f"× (labelled / {config.initial})^{config.iterations.growth:g} later",
        ),
    ]
    entries += [(f"Seed {seed}, derived or set", "; ".join(lines)) for seed, lines in results.derived.items()]
    if results.devices:
        entries.append(("Computed on", results.devices))
    if knows_boxes(config):
        entries.append(("Pool", "only images with a box: knowledge of an oracle"))
    if config.with_tables:
        # Of several, those that the experiment gives; what an instance has of its own is in the list of strategies.
        own_config = config.for_strategy(config.with_tables[0]) if len(config.with_tables) == 1 else config
        lut, reward = own_config.lut, own_config.reward
        labels, refresh = lut.labels.replace("_", " "), lut.refresh.replace("_", " ")
        entries += [
            ("Lookup tables", f"{lut.splits}, of {lut.variants} variants each; labels: {labels}; built {refresh}"),
            ("Reward", reward_in_words(reward)),
        ]
    if config.agents:
        own_config = config.for_strategy(config.agents[0]) if len(config.agents) == 1 else config
        entries.append(("Agent", f"{own_config.agent.episodes} episodes of {own_config.agent.samples} batches"))
    return entries


def final_labels_in_words(results: Results) -> str:
    """Return how many images are labelled in the last cycle, in words."""
    config = results.config
    labelled = images_labelled(results, tuple(config.strategies), config.cycles)
    share = f"{labelled} images, {100 * labelled / len(results.train.image_ids):.0f} % of the training set"
    return f"{share}, in the mean of strategies" if isinstance(config.budget, BudgetConfig) else share


def reward_in_words(reward: RewardConfig) -> str:
    """Return how rewards are looked up, in words."""
    if reward.estimator == "regression":
        return "AP of each class, learned from the variants by the images that show it, their crowding and variety"
    basis = {"by_class": "each class's object counts", "sliced": "embeddings, sliced", "exact": "embeddings, exact"}
    return f"Wasserstein distance of {basis[reward.distance]}; {reward.estimator} estimate"


def _data_name(results: Results) -> str:
    data = results.config.data
    if isinstance(data, SyntheticData):
        return f"synthetic scenes, seed {data.seed}"
    if isinstance(data, ProjectData):
        return PurePath(data.snapshot).parent.name
    # The folder's own name only: its place on this machine says nothing about the experiment.
    return f"{PurePath(data.root).name} ({data.format.upper()} format)"
