"""Benchmark `features`: which descriptions of a set of images predict the variants of lookup tables, as a page.

Each description takes part in the same regression as those of the method (`mgral.method.lut.regression`). Variants of
a table are predicted from the other tables of the seed, which are measured on other images. No test image is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from benchmarks.causes import part_of_copies
from mgral.artefacts.files import read_json
from mgral.config import load_config
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.groups import load_groups
from mgral.errors import InputError
from mgral.method.lut.agreement import compare_by_regression
from mgral.method.lut.composition import FEATURES, Composition
from mgral.method.lut.learned import as_sample
from mgral.method.lut.regression import Sample
from mgral.method.lut.reward import read_table
from mgral.report.results_page import markdown_table
from mgral.report.spread import PairedDifference
from mgral.selection.embeddings import Embeddings, load_embeddings
from mgral.selection.object_counts import count_again

Float64 = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int64]

FOLDS = 5
"""Parts of the labelled images; which classes a part shows is predicted from the others."""
OTHERS = {
    "objects": "objects of the class: log(1 + number)",
    "price": "price: log(1 + boxes of all classes)",
    "copies": "near-copies: fraction of the images that are a near-copy of another in the set",
    "uncertainty": "uncertainty: mean entropy of which classes an image shows, predicted from other images",
    "size": "size of the boxes of the class: log of the mean side, relative to the image",
    "company": "other classes in the images of the class: log(1 + mean number)",
}
"""Descriptions that the reward does not use, and how the page names them."""
NAMES = {
    "roots": "counts alone, as in the report: root of the number of objects of the class",
    "images": "images of the class alone",
    "crowding": "crowding: objects in an image",
    "variety": "variety of the embeddings",
    **OTHERS,
}
COLUMNS = ("R²", "R² minus the reward's", "Spearman")
INTRODUCTION = """# Descriptions of a set of images

Each variant learnt from a set of images. A regression predicts its mAP from descriptions of this set. The page shows
how well, within a table, after the effect of the number of images is removed. The variants of a table are predicted
from the other table of the seed, which is measured on other images. The penalties are chosen by the same
cross-validation, for each line alike. The reward uses three descriptions: images of the class, crowding and variety
([065](../decisions/065-a-reward-that-learns-its-form.md)). The prior is the first of them with one weight for all
classes, so it needs no table.

Numbers are means over seeds. If R² is below 0, the mean of all variants predicts better. Differences are paired by
seed; 95 % intervals are the outer ends of the bootstrap's and Student's. No test image is used. Written by

    python -m benchmarks features {folders} --output {output}

after, for each set (the seeds are tuning seeds, apart from those of any comparison),

{commands}

"""
RUN = """    snakemake --cores all --until table groups --configfile config/confirm_{name}.yaml \\
      --config experiment={experiment} "seeds=[{seeds}]" "strategies=[mgral_greedy]" cycles=1
"""


class Seed(NamedTuple):
    """The tables of one seed, with all descriptions of each variant's images."""

    samples: Sequence[Mapping[str, Float64]]
    """For each table, the descriptions by name, [K, C]."""
    tables: Sequence[Sample]
    """The same tables as the method reads them."""

    def described_by(self, names: Sequence[str]) -> list[Sample]:
        """Return the tables with the named descriptions as their features."""
        return [
            table._replace(features=np.stack([descriptions[name] for name in names], axis=-1))
            for descriptions, table in zip(self.samples, self.tables, strict=True)
        ]

    def rank_by_prior(self) -> float:
        """Return Spearman's correlation of mAP with the sum over classes of the first feature, within tables."""
        residuals = [sample.without_size_effect() for sample in self.described_by(FEATURES[:1])]
        ranks = [spearmanr(one.features.sum(axis=(1, 2)), one.values.sum(axis=1)).statistic for one in residuals]
        return float(np.mean(ranks))

    def predict(self, names: Sequence[str]) -> tuple[float, float]:
        """Return R², and Spearman's correlation within tables, of a regression on the named descriptions."""
        compared = compare_by_regression(self.described_by(names))
        ranks = [spearmanr(*table).statistic if np.ptp(table.predicted) else 0 for table in compared]
        measured, predicted = (np.concatenate(values) for values in zip(*compared, strict=True))
        return float(1 - ((measured - predicted) ** 2).sum() / (measured**2).sum()), float(np.mean(ranks))


@click.command("features")
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Page to write.")
def command(folders: Sequence[Path], output: Path) -> None:
    """Write a page of which descriptions predict the variants of the tables in folders of experiments."""
    if not output.parent.is_dir():
        raise InputError(f"there is no folder {output.parent} for the page; make it first")
    columns = [list(_seeds(folder)) for folder in folders]
    text = INTRODUCTION.format(folders=" ".join(map(str, folders)), output=output, commands=run_commands(folders))
    header = ["description", *(f"{folder.name}: {what}" for folder in folders for what in COLUMNS)]
    lines = {"the prior": [cell for seeds in columns for cell in ("", "", _mean_rank(seeds))]}
    lines |= {title: [cell for seeds in columns for cell in _cells(seeds, names)] for title, names in _trials()}
    text += markdown_table(header, [[title, *cells] for title, cells in lines.items()])
    output.write_text(text + "\n", encoding="utf-8")


def run_commands(folders: Sequence[Path]) -> str:
    """Return the commands that make the tables in these folders."""
    runs = []
    for folder in folders:
        seeds = ",".join(map(str, load_config(folder / "config.yaml").seeds))
        runs.append(RUN.format(name=folder.name.removeprefix("features_"), experiment=folder.name, seeds=seeds))
    return "".join(runs).rstrip("\n")


def _trials() -> Iterator[tuple[str, Sequence[str]]]:
    """Yield what a line of the page is called, and its descriptions."""
    yield NAMES["roots"], ("roots",)
    yield NAMES["images"], FEATURES[:1]
    yield "**images of the class, crowding and variety, as the reward**", FEATURES
    for name in FEATURES[1:]:
        yield f"without {NAMES[name]}", [kept for kept in FEATURES if kept != name]
    for name in OTHERS:
        yield f"with {NAMES[name]}", [*FEATURES, name]
    yield "with all of them", [*FEATURES, *OTHERS]


def _cells(seeds: Sequence[Seed], names: Sequence[str]) -> tuple[str, ...]:
    r_squared, ranks = np.array([seed.predict(names) for seed in seeds]).T
    difference = PairedDifference.of(r_squared, [seed.predict(FEATURES)[0] for seed in seeds])
    low, high = difference.interval
    interval = f" ({low:+z.2f} to {high:+z.2f})" if difference.interval.known else ""
    against = "" if tuple(names) == FEATURES else f"{difference.spread.mean:+z.2f}{interval}"
    return tuple(cell.replace("-", "−") for cell in (f"{r_squared.mean():z.2f}", against, f"{ranks.mean():z.2f}"))


def _mean_rank(seeds: Sequence[Seed]) -> str:
    return f"{np.mean([seed.rank_by_prior() for seed in seeds]):z.2f}".replace("-", "−")


def _seeds(folder: Path) -> Iterator[Seed]:
    config, data = load_config(folder / "config.yaml"), load_dataset(folder / "dataset/train.json")
    groups = load_groups(folder / "dataset/groups.json").groups
    group_of = {image: number for number, group in enumerate(groups) for image in group}
    for seed in config.seeds:
        start = folder / f"seed{seed}/initial/cycle0"
        known = np.array(read_json(start / "labelled.json")["images"])
        embeddings = count_again(load_embeddings(start / "embeddings/default.safetensors"), data, known, seed)
        composition, entropy = Composition.of(embeddings), _entropy(embeddings, data, known, seed)
        samples, tables = [], []
        for split in range(config.lut.splits):
            table = read_table(start / f"tables/default/split{split}/default/table.safetensors", config.reward)
            sets = [np.union1d(table["base"], images) for images in table["images"]]
            described = [describe(images, data, composition, group_of, entropy) for images in sets]
            samples.append({name: np.stack([description[name] for description in described]) for name in NAMES})
            tables.append(as_sample(table))
        yield Seed(samples, tables)


def _entropy(embeddings: Embeddings, data: Dataset, known: Ids, seed: int) -> dict[int, float]:
    """Return how unsure it is which classes a labelled image shows, in nats, if its own labels are not known."""
    entropy_of: dict[int, float] = {}
    for part in np.array_split(np.random.default_rng(seed).permutation(known), FOLDS):
        predicted = count_again(embeddings, data, np.setdiff1d(known, part), seed)
        presence = predicted.presence[data.rows(part)].clip(1e-6, 1 - 1e-6)
        entropies = -(presence * np.log(presence) + (1 - presence) * np.log(1 - presence)).sum(axis=1)
        entropy_of |= dict(zip(part.tolist(), entropies.tolist(), strict=True))
    return entropy_of


def describe(
    images: Ids, data: Dataset, composition: Composition, group_of: Mapping[int, int], entropy: Mapping[int, float]
) -> dict[str, Float64]:
    """Return all descriptions of a set of labelled images, of each class, [C], by name.

    Where a class has no object in the set, its size and company are those of all classes together.
    """
    totals = composition.totals(images)
    counts = data.object_counts(images)
    shown, classes = counts > 0, counts.shape[1]
    rows = data.rows(images)
    sides = np.concatenate([_relative_sides(data, row) for row in rows.tolist()])
    labels = np.concatenate([data.labels[row] for row in rows.tolist()])
    company = np.maximum(shown.sum(axis=1) - 1, 0)
    described = {"roots": composition.roots(totals)} | dict(
        zip(FEATURES, np.moveaxis(composition.features(totals), -1, 0), strict=True)
    )
    of_set = {
        "price": np.log1p(counts.sum()),
        "copies": part_of_copies(set(), set(images.tolist()), group_of),
        "uncertainty": np.mean([entropy[image] for image in images.tolist()]),
    }
    return described | {
        "objects": np.log1p(counts.sum(axis=0)),
        "size": np.array([np.log(_mean(sides, labels == label)) for label in range(classes)]),
        "company": np.array([np.log1p(_mean(company, shown[:, label])) for label in range(classes)]),
        **{name: np.full(classes, value) for name, value in of_set.items()},
    }


def _relative_sides(data: Dataset, row: int) -> Float64:
    """Return the root of each box's area, relative to that of its image, [n]."""
    boxes = data.boxes[row].astype(np.float64)
    sides: Float64 = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / data.sizes[row].prod())
    return sides


def _mean(values: npt.NDArray[np.float64] | npt.NDArray[np.int64], mask: npt.NDArray[np.bool_]) -> float:
    """Return the mean of the values that a mask selects, or of all where it selects none."""
    return float(values[mask].mean() if mask.any() else values.mean())
