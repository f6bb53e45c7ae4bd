"""Tasks of a batch as a server of Label Studio is to have them."""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mgral.artefacts.files import read_json
from mgral.data.values import whole
from mgral.errors import InputError
from mgral.labelling.batch_files import PICTURES, SELECTION, TASKS, check_pictures
from mgral.labelling.classes import name_today
from mgral.labelling.servers.interface import Share
from mgral.labelling.state import Project

_Json = Mapping[str, Any]


class Key(NamedTuple):
    """What makes a task the same as another: it is not sent twice."""

    image: int
    round: int
    batch: str
    """Digest of what is asked of a picture to look at again, else empty."""


def key_of(data: _Json) -> Key:
    """Return the key in a task's data."""
    return Key(
        whole(data.get("mgral_id")) or 0, whole(data.get("mgral_round")) or 0, str(data.get("mgral_batch", ""))
    )


def read_tasks(share: Share) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the tasks of a share, best first, with the names that classes have today, and what is odd about them.

    Raises
    ------
    InputError
        Where the file is damaged, or of another project.
    """
    path = share.folder / TASKS / "label_studio" / "label_studio.json"
    tasks = read_json(path)
    try:
        foreign = [task for task in tasks if task["data"]["mgral_project"] != share.project.id]
        unknown = [task for task in tasks if task["data"]["mgral_id"] not in share.project.images]
        lost = sum(_make_shown(task, share.project) for task in tasks)
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged; bring it back") from None
    if foreign:
        raise InputError(f"{path} is of another project ({foreign[0]['data']['mgral_project']}); push it from there")
    if unknown or not tasks:
        raise InputError(f"{path} has no tasks, or pictures that this project does not know; bring it back")
    for task in tasks if not share.round else ():
        question = json.dumps([task["data"]["mgral_reason"], task.get("predictions")], sort_keys=True)
        task["data"]["mgral_batch"] = hashlib.sha256(question.encode()).hexdigest()[:16]
    lines = [f"{lost} proposed boxes are left out: their class was split since"] if lost else []
    return tasks, lines


def picture_files(share: Share, images: Iterable[int]) -> dict[int, Path]:
    """Return the files of some pictures of a share by their numbers, as selection.csv has them.

    Raises
    ------
    InputError
        Where that cannot be read, or files are gone, naming them.
    """
    path = share.folder / SELECTION
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            paths = {int(row["image"]): share.folder / PICTURES / row["file"] for row in csv.DictReader(file)}
        files = {image: paths[image] for image in images}
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is damaged ({type(error).__name__}: {error}); bring it back") from None
    check_pictures(files.values(), "the batch")
    return files


def _make_shown(task: dict[str, Any], project: Project) -> int:
    """Make the proposed boxes of a task such that the server shows them, and return how many are left out.

    They get the names that their classes have today; those of classes that were split have none.
    """
    lost = 0
    for prediction in task.get("predictions", ()):
        shown_regions = []
        for region in prediction["result"]:
            (name,) = region["value"]["rectanglelabels"]
            name = name_today(project, name)
            if name in project.classes.values():
                region["value"]["rectanglelabels"] = [name]
                shown_regions.append(region)
        lost += len(prediction["result"]) - len(shown_regions)
        prediction["result"] = shown_regions
    return lost
