"""What the report says of the data set: what was repaired, and which pictures are near-copies of each other."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mgral.artefacts.files import read_json
from mgral.config import Config
from mgral.data.dataset import Dataset, load_dataset
from mgral.data.findings import NAMED
from mgral.data.groups import Groups, NearCopy, load_groups
from mgral.data.images import Images, load_images
from mgral.report.inline import Inline, inline_picture

EXAMPLES = 6
"""Pairs of near-copies that are shown, from the nearest to the least near."""
REPAIRS = ("repairs.json", "pictures.json")
"""Of the steps `data` and `cache`."""


@dataclass(frozen=True)
class Repair:
    """A kind of oddity that was harmless, and what was done about it."""

    count: int
    title: str
    done: str
    places: tuple[str, ...]
    """The first few."""


@dataclass(frozen=True)
class NamedPicture:
    """A picture of a pair, and what it is called."""

    picture: Inline
    name: str


@dataclass(frozen=True)
class Example:
    """A test image beside its nearest near-copy among the training images."""

    test: NamedPicture
    train: NamedPicture
    difference: float


@dataclass(frozen=True)
class DataNotes:
    """Repairs and near-copies of the data set; empty or None where no step has written them."""

    repairs: tuple[Repair, ...]
    groups: Groups | None
    examples: tuple[Example, ...]

    @property
    def grouped(self) -> int:
        """Training images that have a near-copy among the training images."""
        return sum(map(len, self.groups.groups)) if self.groups else 0


def load_notes(folder: Path, config: Config, train: Dataset, images: Images) -> DataNotes:
    """Read the notes in the folder `dataset` of an experiment, and draw the examples."""
    repairs = [
        Repair(entry["count"], entry["kind"], entry["advice"], tuple(entry["places"][:NAMED]))
        for name in REPAIRS
        if (folder / name).exists()
        for entry in read_json(folder / name)
    ]
    groups = load_groups(folder / "groups.json") if (folder / "groups.json").exists() else None
    examples: tuple[Example, ...] = ()
    if groups and groups.pairs:
        test = load_dataset(folder / "test.json")
        test_images = load_images(folder / "test.npy", test, config.detector.image_canvas)
        positions = np.unique(np.linspace(0, len(groups.pairs) - 1, EXAMPLES).round().astype(int))
        examples = tuple(_example(groups.pairs[position], train, images, test, test_images) for position in positions)
    return DataNotes(tuple(repairs), groups, examples)


def _example(pair: NearCopy, train: Dataset, images: Images, test: Dataset, test_images: Images) -> Example:
    return Example(
        _named_picture(test, test_images, pair.test), _named_picture(train, images, pair.train), pair.difference
    )


def _named_picture(dataset: Dataset, images: Images, image_id: int) -> NamedPicture:
    row = int(dataset.rows([image_id])[0])
    return NamedPicture(inline_picture(images.image(row), dataset.sizes[row]), dataset.file_names[row])
