"""Near-copies among images, such as neighbouring frames of a video, found by their thumbnails."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from mgral.artefacts.files import read_json
from mgral.config import NearCopiesConfig
from mgral.errors import InputError

BLOCK = 4
"""Side in pixels of the blocks whose means are compared first."""
ROWS, COLUMNS = 1024, 2048
"""Numbers of images of two sets that are compared at once, each with each; this takes about 50 MB."""
_GREY = 128
"""Subtracted from thumbnails. Then all sums of products of two of them are integers below 2^24, which float32
represents exactly, so that distances are exact in whatever order they are summed."""

Ids = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class NearCopy(NamedTuple):
    """A test image and its nearest near-copy among the training images."""

    test: int
    """Image id."""
    train: int
    """Image id."""
    difference: float
    """Root mean square of the difference of their thumbnails, in grey levels."""


@dataclass(frozen=True)
class Groups:
    """The near-copies of a data set."""

    groups: tuple[tuple[int, ...], ...]
    """Ids of training images, ascending, in groups of at least two: each is a near-copy of another in its group."""
    pairs: tuple[NearCopy, ...]
    """Test images with a near-copy among the training images, the nearest first."""
    test_images: int
    flat_test_images: int
    """Test images that differ as little from a training image, but of too little contrast to tell: not in `pairs`."""

    @property
    def share(self) -> float:
        """Share of the test images that have a near-copy among the training images, 0 to 1."""
        return len(self.pairs) / self.test_images if self.test_images else 0.0

    def as_json(self) -> dict[str, object]:
        """Return the content of groups.json."""
        return {
            "groups": [list(group) for group in self.groups],
            "pairs": [pair._asdict() for pair in self.pairs],
            "test_images": self.test_images,
            "flat_test_images": self.flat_test_images,
        }


def load_groups(path: Path) -> Groups:
    """Read a groups.json that the step `groups` wrote; raises InputError where it is missing or damaged."""
    values = read_json(path)
    try:
        return Groups(
            groups=tuple(tuple(map(int, group)) for group in values["groups"]),
            pairs=tuple(NearCopy(int(p["test"]), int(p["train"]), float(p["difference"])) for p in values["pairs"]),
            test_images=int(values["test_images"]),
            flat_test_images=int(values["flat_test_images"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error!r}); delete it and run the step `groups` again") from None


def find_groups(
    train: Ids, train_thumbnails: Bytes, test: Ids, test_thumbnails: Bytes, settings: NearCopiesConfig
) -> Groups:
    """Find the near-copies among training images, and between test and training images.

    Two images are near-copies if their thumbnails differ, as root mean square, by at most `settings.difference` grey
    levels and by at most `settings.of_contrast` of the smaller of their two standard deviations.

    Parameters
    ----------
    train, test
        Image ids, [N] and [M].
    train_thumbnails, test_thumbnails
        Their thumbnails, uint8 [N, 24, 24] and [M, 24, 24].
    """
    sorted_train, sorted_test = _SortedThumbnails(train_thumbnails), _SortedThumbnails(test_thumbnails)
    labels = _label_groups(sorted_train, settings)
    pairs, flat = _find_nearest(sorted_test, sorted_train, settings)
    order = np.lexsort((train, labels))
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    groups = [tuple(group.tolist()) for group in np.split(train[order], starts[1:]) if len(group) > 1]
    near_copies = (NearCopy(int(test[pair.test]), int(train[pair.train]), pair.difference) for pair in pairs)
    return Groups(
        groups=tuple(sorted(groups)),
        pairs=tuple(sorted(near_copies, key=lambda pair: (pair.difference, pair.test))),
        test_images=len(test),
        flat_test_images=flat,
    )


def groups_by_name(images: Ids, names: Sequence[str], pattern: str) -> tuple[tuple[int, ...], ...]:
    """Return the images [N] in whose names a regular expression finds the same text, in groups of at least two.

    The text is that of all groups of the expression, or the complete match if it has none; names without it are in no
    group.
    """
    members: dict[tuple[str | None, ...], list[int]] = defaultdict(list)
    for image, name in zip(images.tolist(), names, strict=True):
        if match := re.search(pattern, name):
            members[match.groups() or (match[0],)].append(image)
    return tuple(sorted(tuple(sorted(group)) for group in members.values() if len(group) > 1))


class _SortedThumbnails:
    """Thumbnails sorted by their means, with the means of blocks, which are compared first."""

    def __init__(self, thumbnails: Bytes) -> None:
        images, side, _ = thumbnails.shape
        vectors = thumbnails.reshape(images, side * side)
        means = vectors.mean(axis=1)
        self.order = np.argsort(means, kind="stable")
        """Row of the thumbnail in each place."""
        self.pixels, self.means = vectors[self.order], means[self.order]
        per_side = side // BLOCK
        blocks = self.pixels.reshape(images, per_side, BLOCK, per_side, BLOCK).mean(axis=(2, 4))
        self.blocks = (blocks.reshape(images, per_side**2) - _GREY).astype(np.float32)
        squares = np.einsum("ij,ij->i", self.pixels, self.pixels, dtype=np.int64)
        self.deviations = np.sqrt(squares / vectors.shape[1] - self.means**2)

    def values(self, places: npt.NDArray[np.int64]) -> Floats:
        """Return the pixels of the thumbnails at these places, less `_GREY`, [n, D]."""
        return self.pixels[places].astype(np.float32) - _GREY


class _Chunk(NamedTuple):
    """Places of two sorted sets whose thumbnails may be near-copies, and the distances of all pairs of them."""

    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    mean_squares: npt.NDArray[np.float64]
    """[rows, columns]: of the difference of their thumbnails."""
    alike: Mask
    """[rows, columns]: whether they differ by at most the limit in grey levels."""
    near: Mask
    """[rows, columns]: whether they are near-copies."""


def _label_groups(images: _SortedThumbnails, settings: NearCopiesConfig) -> npt.NDArray[np.int64]:
    """Return the number of each image's group, int64 [N], in the order of the thumbnails as given."""
    labels = np.arange(len(images.order))
    for chunk in _compare(images, images, settings, labels):
        rows, columns = np.nonzero(chunk.near)
        if not len(rows):
            continue
        ends = labels[chunk.rows[rows]], labels[chunk.columns[columns]]
        edges = coo_array((np.ones(len(rows), bool), ends), shape=(len(labels), len(labels)))
        labels[:] = connected_components(edges, directed=False)[1][labels]
    unsorted_labels = np.empty_like(labels)
    unsorted_labels[images.order] = labels
    return unsorted_labels


class _NearRows(NamedTuple):
    """As `NearCopy`, with rows in the thumbnails as given in place of image ids."""

    test: int
    train: int
    difference: float


def _find_nearest(
    test: _SortedThumbnails, train: _SortedThumbnails, settings: NearCopiesConfig
) -> tuple[list[_NearRows], int]:
    """Return each test image that has a near-copy with the nearest, and how many are alike but too flat to tell."""
    best = np.full(len(test.order), np.inf)
    nearest = np.zeros(len(test.order), dtype=np.int64)
    alike = np.zeros(len(test.order), dtype=bool)
    for chunk in _compare(test, train, settings):
        alike[chunk.rows] |= chunk.alike.any(axis=1)
        distances = np.where(chunk.near, chunk.mean_squares, np.inf)
        closest = distances.argmin(axis=1)
        lowest = distances[np.arange(len(closest)), closest]
        better = lowest < best[chunk.rows]
        best[chunk.rows[better]] = lowest[better]
        nearest[chunk.rows[better]] = chunk.columns[closest[better]]
    places = np.flatnonzero(np.isfinite(best))
    pairs = [
        _NearRows(int(test.order[place]), int(train.order[nearest[place]]), round(float(np.sqrt(best[place])), 3))
        for place in places
    ]
    return pairs, int(alike.sum()) - len(places)


def _compare(
    first: _SortedThumbnails,
    second: _SortedThumbnails,
    settings: NearCopiesConfig,
    labels: npt.NDArray[np.int64] | None = None,
) -> Iterator[_Chunk]:
    """Yield the parts of [first, second] that contain all pairs that are alike, with their distances.

    Neither the difference of two means nor the root mean square of the differences of block means can exceed that of
    the pixels, so pairs that differ more in either are passed over. With `labels` the two sets are the same: each
    pair is compared once, and not if both have the same label by then.
    """
    limit = settings.difference
    for start in range(0, len(first.order), ROWS):
        places = np.arange(start, min(start + ROWS, len(first.order)))
        low = int(np.searchsorted(second.means, first.means[places[0]] - limit, "left"))
        high = int(np.searchsorted(second.means, first.means[places[-1]] + limit, "right"))
        for begin in range(low if labels is None else start, high, COLUMNS):
            others = np.arange(begin, min(begin + COLUMNS, high))
            maybe = _mean_squares(first.blocks[places], second.blocks[others]) <= limit**2 + 0.01  # for rounding
            if labels is not None:
                maybe &= (labels[places][:, None] != labels[others]) & (places[:, None] < others)
            rows, columns = places[maybe.any(axis=1)], others[maybe.any(axis=0)]
            if len(rows):
                yield _measure_distances(first, second, rows, columns, settings)


def _measure_distances(
    first: _SortedThumbnails,
    second: _SortedThumbnails,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    settings: NearCopiesConfig,
) -> _Chunk:
    """Compare the thumbnails at two sets of places, each with each."""
    squares = _mean_squares(first.values(rows), second.values(columns))
    contrast = np.minimum(first.deviations[rows][:, None], second.deviations[columns])
    alike = squares <= settings.difference**2
    return _Chunk(rows, columns, squares, alike, alike & (squares <= (settings.of_contrast * contrast) ** 2))


def _mean_squares(first: Floats, second: Floats) -> npt.NDArray[np.float64]:
    """Return the mean square of the difference of each row of [n, D] and each of [m, D], [n, m]."""
    lengths = (first**2).sum(axis=1).astype(np.float64)[:, None] + (second**2).sum(axis=1)
    squares: npt.NDArray[np.float64] = (lengths - 2 * (first @ second.T)) / first.shape[1]
    return squares
