"""Near-copies among the labelled pictures of a project, for experiments that are planned before any job has run."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mgral.compute.progress import tracked
from mgral.config import NearCopiesConfig
from mgral.data.decoding import PictureError, decode, pillow_limits
from mgral.data.formats.snapshot import Picture
from mgral.data.groups import Bytes, find_groups, groups_by_name
from mgral.data.images import DECODERS
from mgral.data.thumbnails import SIDE, thumbnail
from mgral.labelling.batches import picture_path
from mgral.labelling.settings import ProjectSettings
from mgral.labelling.state import Project

LEAST_SIDE = 4 * SIDE
"""Pixels of the sides to which a picture is decoded at least, before it becomes a thumbnail."""


def near_copies(
    folder: Path, settings: ProjectSettings, project: Project, images: Sequence[int], config: NearCopiesConfig
) -> tuple[tuple[int, ...], ...]:
    """Return groups of images that are near-copies, or of one video, by their numbers, as the step `groups` does.

    A picture that cannot be read is in no group: the job that needs it says what is wrong with it.
    """
    pictures = [project.pictures[image] for image in images]
    ids = np.array(images, dtype=np.int64)
    if config.pattern is not None:
        return groups_by_name(ids, [picture.file for picture in pictures], config.pattern)
    decoding = settings.decoding

    def small(picture: Picture) -> Bytes | None:
        path = picture_path(folder, settings, project.files[picture.id])
        try:
            size = picture.width, picture.height
            return thumbnail(decode(path.read_bytes(), str(path), size, decoding, least_side=LEAST_SIDE).pixels)
        except (OSError, PictureError):
            return None

    with pillow_limits(decoding.max_pixels), ThreadPoolExecutor(DECODERS) as pool:
        all_thumbnails = list(tracked(pool.map(small, pictures), "near-copies", len(pictures), "picture"))
    readable = [row for row, pixels in enumerate(all_thumbnails) if pixels is not None]
    thumbnails = np.array([all_thumbnails[row] for row in readable], dtype=np.uint8).reshape(-1, SIDE, SIDE)
    no_test_images = np.empty(0, np.int64), np.empty((0, SIDE, SIDE), np.uint8)
    return find_groups(ids[readable], thumbnails, *no_test_images, config).groups
