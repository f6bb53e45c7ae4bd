"""Lists of image ids, as in labelled.json and selection.json."""

from pathlib import Path

from mgral.artefacts import read_json
from mgral.errors import InputError


def read_image_ids(path: Path) -> list[int]:
    """Read the `images` of a JSON file: ids in the file's order; raises InputError where there is no such list."""
    content = read_json(path)
    ids = content.get("images") if isinstance(content, dict) else None
    if not isinstance(ids, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise InputError(f"{path}: `images` is not a list of image ids; delete the file and run its step again")
    if len(set(ids)) < len(ids):
        raise InputError(f"{path}: `images` names an image more than once; delete the file and run its step again")
    return ids
