"""The image cache of a single split, for tests of what is read from it."""

from pathlib import Path

from mgral.config import PictureSettings
from mgral.config.canvas import Canvas
from mgral.data.cache import SplitFiles, cache_splits
from mgral.data.dataset import Dataset
from mgral.data.findings import Findings


def cache_split(
    dataset: Dataset,
    root: Path,
    canvas: Canvas,
    output: Path,
    keep_files: bool = False,
    threads: int = 1,
    settings: PictureSettings | None = None,
) -> Findings:
    """Write the cache of a split to `output`, its thumbnails beside it."""
    split = SplitFiles("train", dataset, output, output.with_suffix(".thumbnails.npy"))
    return cache_splits([split], root, canvas, settings or PictureSettings(), keep_files, threads)
