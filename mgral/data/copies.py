"""Pictures that are in two splits: the same file, under one name or two."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mgral.data.paths import is_file
from mgral.data.records import Image


def copies_between(train: Iterable[Image], test: Iterable[Image], root: Path) -> dict[int, str]:
    """Return the training images whose file has the bytes of a test image's: the id, and the test image's name.

    Files are read only where one of each split has the same number of bytes. Files that are missing, empty or not
    readable are no copies.
    """
    test_by_size = _group_by_size(test, root)
    train_by_size = _group_by_size(train, root)
    copies: dict[int, str] = {}
    for size in test_by_size.keys() & train_by_size.keys():
        by_content = {_digest(root / image["file_name"]): image["file_name"] for image in test_by_size[size]}
        by_content.pop(None, None)
        for image in train_by_size[size]:
            if test_name := by_content.get(_digest(root / image["file_name"])):
                copies[image["id"]] = test_name
    return copies


def _group_by_size(images: Iterable[Image], root: Path) -> dict[int, list[Image]]:
    """Group images by the bytes of their files, without those that are missing or empty."""
    images_by_size: dict[int, list[Image]] = defaultdict(list)
    for image in images:
        path = root / image["file_name"]
        if is_file(path) and (size := path.stat().st_size):
            images_by_size[size].append(image)
    return images_by_size


def _digest(path: Path) -> bytes | None:
    """Return the SHA-256 of a file; None where it may not be read, which is noted where it is decoded."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None
