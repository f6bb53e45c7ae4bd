"""People who label in Label Studio by its REST interface, and what is true of their pictures."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import requests

from benchmarks.label_studio_server import TOKEN
from mgral.artefacts.files import read_json
from mgral.compute.progress import tracked

SAME = 0.8
"""Overlap from which people leave a proposed box as it is."""
SKIPPED, DRAFT, SECOND = 20, 25, 10
"""One task in so many is skipped, is begun and not ended, and is labelled by two people."""
LOOK, BOX = 3.0, 2.0
"""Seconds that people are said to need for a picture, and for a box that they draw."""
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Truth:
    """What is in some pictures, by the stems of their files."""

    classes: list[str]
    sizes: dict[str, tuple[int, int]]
    regions: dict[str, list[Json]]
    """The objects of each, as Label Studio has them."""


class Counts(NamedTuple):
    """What people did with a round."""

    proposed: int
    """Boxes that were proposed in the tasks that they ended."""
    accepted: int
    """Those of them that they left as they are."""


def read_truth(path: Path) -> Truth:
    """Read the labels of pictures, COCO JSON."""
    coco = read_json(path)
    names = {one["id"]: one["name"] for one in coco["categories"]}
    stems = {one["id"]: PurePosixPath(one["file_name"]).stem for one in coco["images"]}
    sizes = {stems[one["id"]]: (one["width"], one["height"]) for one in coco["images"]}
    regions: dict[str, list[Json]] = defaultdict(list)
    for one in coco["annotations"]:
        stem = stems[one["image_id"]]
        regions[stem].append(region_of(one["bbox"], names[one["category_id"]], sizes[stem], f"t{one['id']}"))
    return Truth(list(names.values()), sizes, regions)


def region_of(box: Sequence[float], label: str, size: tuple[int, int], name: str) -> dict[str, Any]:
    """Return a box, x, y, width and height in pixels, as Label Studio has it, with a name of its own."""
    x, y, width, height = (100 * side / size[place % 2] for place, side in enumerate(box))
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label]}
    sizes = {"original_width": size[0], "original_height": size[1], "image_rotation": 0}
    return {"id": name, "type": "rectanglelabels", "from_name": "label", "to_name": "image", **sizes, "value": value}


class People:
    """People at a Label Studio."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Token {TOKEN}"
        self._session.trust_env = False  # no proxy, and no other token

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """Return the answer to a request, as JSON gives it."""
        answer = self._session.request(method, self.url + path, timeout=300, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def content(self, path: str) -> bytes:
        """Return what a browser would show of a path."""
        answer = self._session.get(self.url + path, timeout=300)
        answer.raise_for_status()
        return answer.content

    def join(self, name: str) -> int:
        """Add a person, and return the number."""
        person = {"email": f"{name}@localhost.org", "username": name, "password": "local-only-1234"}
        return int(self.ask("POST", "/api/users/", json=person)["id"])

    def tasks(self, project: str) -> list[Json]:
        """Return the tasks of a project in the order in which they were sent."""
        params = {"project": project, "page_size": 100_000, "fields": "all"}
        found: list[Json] = self.ask("GET", "/api/tasks", params=params)["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def submit(self, task: Json, result: Sequence[Json], **more: Any) -> None:
        """End a task."""
        body = {"result": result, "lead_time": LOOK, **more}
        self.ask("POST", f"/api/tasks/{task['id']}/annotations/", json=body)

    def begin(self, task: Json, result: Sequence[Json]) -> None:
        """Begin a task, and do not end it."""
        self.ask("POST", f"/api/tasks/{task['id']}/drafts", json={"result": result, "lead_time": LOOK})

    def accept(self, tasks: Sequence[Json]) -> None:
        """End tasks with what is proposed."""
        for task in tracked(tasks, "people", len(tasks), "task"):
            self.submit(task, [region for one in task["predictions"] for region in one["result"]])

    def label(self, tasks: Sequence[Json], truth: Truth, persons: tuple[int, int]) -> Counts:
        """Do tasks as people do: with what is true, and some of them not or not to the end."""
        proposed = accepted = 0
        for place, task in enumerate(tracked(tasks, "people", len(tasks), "task"), start=1):
            found = [region for one in task["predictions"] for region in one["result"]]
            result, kept = corrected(found, truth.regions.get(Path(task["data"]["image"]).stem, []))
            if place % DRAFT == 0:
                self.begin(task, result)
                continue
            if place % SKIPPED == 0:
                self.submit(task, [], was_cancelled=True)
                continue
            proposed, accepted = proposed + len(found), accepted + kept
            for person in persons if place % SECOND == 0 else persons[place % 2 :][:1]:
                self.submit(task, result, lead_time=LOOK + BOX * (len(result) - kept), completed_by=person)
        return Counts(proposed, accepted)


def corrected(found: Sequence[Json], true: Sequence[Json]) -> tuple[list[Json], int]:
    """Return the true regions, each replaced by a proposed one that overlaps it enough, and how many those are."""
    left, result, kept = list(found), list[Json](), 0
    for region in true:
        same = next((one for one in left if _same(one["value"], region["value"])), None)
        if same is not None:
            left.remove(same)
            kept += 1
        result.append(same or region)
    return result, kept


def _same(first: Json, second: Json) -> bool:
    shared, union = 1.0, first["width"] * first["height"] + second["width"] * second["height"]
    for at, side in (("x", "width"), ("y", "height")):
        end = min(first[at] + first[side], second[at] + second[side])
        shared *= max(0.0, end - max(first[at], second[at]))
    return first["rectanglelabels"] == second["rectanglelabels"] and shared >= SAME * (union - shared)
