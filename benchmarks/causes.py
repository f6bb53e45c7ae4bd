"""Benchmark `causes`: what the batches of finished experiments consist of, and what their gains follow, as a page."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import spearmanr

from benchmarks.claims import METHOD
from mgral.artefacts.files import read_json
from mgral.config import Config, load_config
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.groups import load_groups
from mgral.errors import InputError
from mgral.method.lut.composition import Composition
from mgral.method.lut.learned import LearnedTables
from mgral.method.lut.reward import load_tables
from mgral.report.curves import mean_heights
from mgral.report.detectors import TABLE, scores_of
from mgral.report.results_page import markdown_table
from mgral.report.spread import points
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again

Float64 = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

OTHERS = ("random", "random_no_copies", "class_presence")
"""What MGRAL is compared with, by whether the tables passed their test."""
DESCRIBED = {
    "images of each class": "logarithm of the images that show each class, by labels",
    "predicted images": "the same, as predicted",
    "variety": "variety of the images",
    "crowding": "objects in an image, by labels",
    "reward": "reward by which MGRAL chose, learned or prior, as predicted",
}
"""What a batch adds to that describes it, and how the page names it."""
FITS = {
    "R² of the images of each class alone, by labels": ("images of each class",),
    "R² with variety and objects in an image": ("images of each class", "variety", "crowding"),
}
INTRODUCTION = """# Batches of the confirmatory comparison

What was chosen, and what the gains in mAP follow. Looked at after the comparison: explanations, not tests. What we
conclude: [Why it came out so](confirmatory_causes.md). From the artefacts of the runs, by

    python -m benchmarks causes {folders} --output {output}
"""
COPIES = """
## Near-copies

Part of the labelled images that are near-copies of an image that was labelled before, or of another one in the batch,
all but one of these; mean over seeds and cycles.

"""
TEST = f"""
## Where the tables passed their test, and where the prior chose

Points of mAP of `{METHOD}` above other strategies, by labelled images. Where the lookup tables predict no
better than tables of shuffled values, the number of images of each class decides: the prior. The last line is about
all seeds: how well cross-validation predicts the variants, and how far MGRAL is above `random`.

"""
GAINS = """
## What the gains follow

Spearman's correlation of the gains in cycle 1 with what describes the strategies' batches, mean over seeds. R² is
that of one least-squares fit to the batches of all seeds, less the mean of each seed.

"""


class Batch(NamedTuple):
    """What a strategy has labelled in cycle 1 of a seed."""

    gain: float
    """mAP on the test images, 0 to 1, above that of the initial detector."""
    described: Mapping[str, float]
    """By each of `DESCRIBED`."""


class Seed(NamedTuple):
    """The first tables of a seed, and what the strategies chose by or without them."""

    passed: bool
    """Whether the tables passed their permutation test."""
    predicted: float
    """Correlation of the measured mAP of all variants with their cross-validated predictions, less table means."""
    batches: Sequence[Batch]
    """In the order of the strategies."""


class Experiment(NamedTuple):
    """A finished experiment that compares `mgral_greedy` with others."""

    folder: Path
    config: Config
    data: Dataset
    heights: Mapping[str, Float64]
    """Mean height of each strategy's curve over labelled images, [seeds]."""


@click.command("causes")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")
def command(folders: Sequence[Path], output: Path) -> None:
    """Write a page of what the batches of experiments consist of, from their artefacts: RESULTS/EXPERIMENT."""
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent} for the page; make it first")
    experiments = [_open(folder) for folder in folders]
    names = [one.config.experiment for one in experiments]
    text = INTRODUCTION.format(folders=" ".join(map(str, folders)), output=output)
    text += COPIES
    text += _table(names, [_by_strategy(one) for one in experiments])
    tables = [list(_seeds(one)) for one in experiments]
    text += TEST
    text += _table(names, [_by_test(one, found) for one, found in zip(experiments, tables, strict=True)])
    text += GAINS
    text += _table(names, [_followed(found) for found in tables])
    output.write_text(text, encoding="utf-8")


def _open(folder: Path) -> Experiment:
    config = load_config(folder / "config.yaml")
    table = folder / "tables" / f"{TABLE}.csv"
    if not table.exists():
        raise InputError(f"{folder} has no report yet; finish the experiment first")
    if lacking := [name for name in (METHOD, *OTHERS) if name not in config.strategies]:
        raise InputError(f"{folder} does not compare {', '.join(lacking)}, which the page is about")
    scores = scores_of([pd.read_csv(table)], config)
    return Experiment(
        folder, config, load_dataset(folder / "dataset/train.json"), mean_heights(scores, "map", "images")
    )


def _labelled(experiment: Experiment, seed: int, strategy: str, cycle: int) -> Ids:
    of = f"strategies/{strategy}" if cycle else "initial"
    return np.array(read_json(experiment.folder / f"seed{seed}/{of}/cycle{cycle}/labelled.json")["images"])


def _by_strategy(experiment: Experiment) -> dict[str, str]:
    return {f"`{name}`": _percent(_copies(experiment, name)) for name in experiment.config.strategies}


def _copies(experiment: Experiment, strategy: str) -> Float64:
    """Return the part of near-copies, 0 to 1, in what a strategy chose, [seeds]."""
    groups = load_groups(experiment.folder / "dataset/groups.json").groups
    group_of = {image: number for number, group in enumerate(groups) for image in group}
    parts = np.zeros((len(experiment.config.seeds), experiment.config.cycles))
    for row, seed in enumerate(experiment.config.seeds):
        labelled = [set(_labelled(experiment, seed, strategy, cycle).tolist()) for cycle in range(parts.shape[1] + 1)]
        parts[row] = [part_of_copies(before, after, group_of) for before, after in pairwise(labelled)]
    mean: Float64 = parts.mean(axis=1)
    return mean


def part_of_copies(before: set[int], after: set[int], group_of: Mapping[int, int]) -> float:
    """Return the part of the new images of `after`, 0 to 1, that are not the first of their group in it."""
    new = after - before
    groups = [group_of[image] for image in new if image in group_of]
    first = set(groups) - {group_of[image] for image in before if image in group_of}
    return (len(groups) - len(first)) / len(new)


def _seeds(experiment: Experiment) -> Iterator[Seed]:
    """Yield the tables of each seed, and the strategies' batches of cycle 1."""
    config, data = experiment.config, experiment.data
    for seed in config.seeds:
        start = experiment.folder / f"seed{seed}/initial/cycle0"
        known = _labelled(experiment, seed, "", 0)
        predicted = count_again(load_embeddings(start / "embeddings/default.safetensors"), data, known, seed)
        splits = [start / f"tables/default/split{one}/default/table.safetensors" for one in range(config.lut.splits)]
        tables = load_tables(splits, predicted, config)
        assert isinstance(tables, LearnedTables)
        counts = data.object_counts(predicted.image_ids).astype(np.float32)
        by_labels = Composition.of(replace(predicted, counts=counts, presence=np.minimum(counts, 1)))
        before = read_json(start / "metrics.json")["map"]
        batches = []
        for strategy in config.strategies:
            new = np.setdiff1d(_labelled(experiment, seed, strategy, 1), known)
            after = read_json(experiment.folder / f"seed{seed}/strategies/{strategy}/cycle1/metrics.json")["map"]
            batches.append(Batch(after - before, _describe(new, known, tables, by_labels)))
        of_variants = tables.regression.predicted
        correlation = float(np.corrcoef(of_variants.measured, of_variants.learned)[0, 1])
        yield Seed(tables.regression.valid, correlation, batches)


def _describe(new: Ids, known: Ids, tables: LearnedTables, by_labels: Composition) -> dict[str, float]:
    def added(composition: Composition) -> Float64:
        """Return what a batch adds to each feature of each class, [C, F]."""
        labelled = composition.totals(known)
        return composition.features(labelled + composition.totals(new)) - composition.features(labelled)

    true, predicted = added(by_labels), added(tables.composition)
    return {
        "images of each class": true[:, 0].mean(),
        "predicted images": predicted[:, 0].mean(),
        "variety": true[0, 2],
        "crowding": true[0, 1],
        "reward": (predicted * tables.regression.weights).sum(axis=1).mean(),
    }


def _by_test(experiment: Experiment, seeds: Sequence[Seed]) -> dict[str, str]:
    passed = np.array([seed.passed for seed in seeds])
    rows = {"seeds in which the tables passed the test": f"{passed.sum()} of {len(passed)}"}
    chosen_by = {"learned reward": passed, "prior": ~passed}
    for other in OTHERS:
        difference = experiment.heights[METHOD] - experiment.heights[other]
        for name, chosen in chosen_by.items():
            rows[f"{name}, above `{other}`"] = points(difference[chosen].mean(), sign=True) if chosen.any() else "–"
    copies = _copies(experiment, METHOD)
    rows |= {f"{name}, near-copies": _percent(copies[chosen]) for name, chosen in chosen_by.items()}
    lead = experiment.heights[METHOD] - experiment.heights[OTHERS[0]]
    rank = spearmanr([seed.predicted for seed in seeds], lead).statistic
    rows["Spearman over seeds: predicted variants, and lead on `random`"] = _signed(rank)
    return rows


def _percent(parts: Float64) -> str:
    return f"{100 * parts.mean():.0f} %" if len(parts) else "–"


def _signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _followed(seeds: Sequence[Seed]) -> dict[str, str]:
    gains = np.array([[batch.gain for batch in seed.batches] for seed in seeds])
    described = {
        name: np.array([[batch.described[name] for batch in seed.batches] for seed in seeds]) for name in DESCRIBED
    }
    rows = {
        said: _signed(np.mean([spearmanr(*pair).statistic for pair in zip(gains, described[name], strict=True)]))
        for name, said in DESCRIBED.items()
    }
    fits = {said: explained(gains, [described[name] for name in names]) for said, names in FITS.items()}
    return rows | {name: f"{value:.2f}" for name, value in fits.items()}


def explained(gains: Float64, features: Sequence[Float64]) -> float:
    """Return the R² of a least-squares fit to gains by features, [seeds, batches], less the mean of each seed."""
    own, *of = (one - one.mean(axis=1, keepdims=True) for one in (gains, *features))
    given = np.stack([one.ravel() for one in of], axis=1)
    fit, *_ = np.linalg.lstsq(given, own.ravel())
    return float(1 - ((own.ravel() - given @ fit) ** 2).sum() / (own**2).sum())


def _table(names: Sequence[str], columns: Sequence[Mapping[str, str]]) -> str:
    every = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, "–") for column in columns)] for name in every]
    return markdown_table(("", *names), rows) + "\n"
