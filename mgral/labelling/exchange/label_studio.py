"""Reader of Label Studio's JSON export, which has the state of each task."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from mgral.data.findings import Finding
from mgral.data.formats.coco import PREDICTIONS
from mgral.data.formats.yolo_yaml import SUFFIXES
from mgral.data.paths import is_text
from mgral.data.values import number, whole
from mgral.labelling.exchange.brush import around_brush
from mgral.labelling.exchange.outlines import Corners, around, around_ellipse, around_turned
from mgral.labelling.exchange.reading import (
    NO_BOX,
    NO_CLASS,
    NO_NUMBERS,
    NO_PICTURE,
    NOT_ALL,
    OTHER_ANSWERS,
    SEVERAL_CLASSES,
    Content,
    Reading,
)
from mgral.labelling.records import Box, Returned

JSON_MIN = Finding(
    "files are Label Studio's JSON_MIN, which has no states", "export JSON instead, the first of its formats"
)
TURNED_PICTURE = Finding(
    "pictures were turned in Label Studio", "turn them back there, submit them, and export again"
)
SEVERAL_PROJECTS = Finding("tasks are of several projects", "export each project of the labelling tool by itself")
BEGUN_AGAIN = Finding("drafts change labels that were submitted", "the submitted ones are used")
NO_ANNOTATIONS = Finding(
    "tasks have no list of `annotations`, or only their numbers, so what people did is lost",
    "export JSON from Label Studio 1.0 or newer",
)
NO_RESULT = Finding("annotations have no list of regions as `result`", "export JSON again; other formats lose them")
SEVERAL_SIZES = Finding(
    "pictures had several sizes while they were labelled", "draw the boxes anew on one, and export again"
)
OUTLINE = ("x", "y", "width", "height", "rotation", "radiusX", "radiusY", "points", "rle")
"""Keys that say where a region is; all its parts have the same values of them."""
SERVED = ("http://", "https://", "/")
"""How addresses begin that a browser asks for, in which characters are escaped."""
_Json = Mapping[str, Any]


def read_label_studio(reading: Reading) -> Content:
    """Read the tasks of JSON exports, or of tasks that were never imported; predictions are no labels.

    Of one person's annotations of a picture, the latest is returned.
    """
    entries: list[Returned] = []
    projects: Counter[str] = Counter()
    for name in reading.source.ending(".json"):
        tasks, place = reading.json(name), reading.source.place(name)
        if isinstance(tasks, dict):
            tasks = [tasks]
        if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
            if tasks is not None:
                reading.findings.fault(NOT_ALL, f"{place}: it is no list of tasks")
            continue
        if tasks and not any("data" in task for task in tasks) and any("annotation_id" in task for task in tasks):
            reading.findings.fault(JSON_MIN, place)
            continue
        if tasks and all({"image_id", "bbox"} <= task.keys() for task in tasks):
            reading.findings.fault(PREDICTIONS, f"{place}: COCO results of a detector")
            continue
        for position, task in enumerate(tasks):
            data = task.get("data")
            if isinstance(data, dict) and is_text(data.get("mgral_project")):
                projects[data["mgral_project"]] += 1
            entries += _read_task(task, f"{place}: task {task.get('id', f'at place {position}')}", reading)
    if len(projects) > 1:
        reading.findings.fault(SEVERAL_PROJECTS, f"{reading.source.path}: {', '.join(sorted(projects))}")
    labels = _latest(entries)
    classes = dict.fromkeys(box.label for entry in labels for box in entry.boxes)
    return Content(labels, list(classes), next(iter(projects), None))


def _read_task(task: _Json, place: str, reading: Reading) -> list[Returned]:
    """Return an entry for each annotation and draft of a task; an untouched one where it has none."""
    data = task.get("data")
    file = _picture(data) if isinstance(data, dict) else None
    if not isinstance(data, dict) or file is None:
        reading.findings.fault(NO_PICTURE, place)
        return []
    image, place = whole(data.get("mgral_id")), f"{place} ({file})"
    objects = _objects(task, "annotations")
    if "completions" in task or objects != (task.get("annotations") or []):  # some exports have only their numbers
        reading.findings.fault(NO_ANNOTATIONS, place)
        return []
    entries = [_read_annotation(annotation, file, image, place, reading) for annotation in objects]
    drafts = task.get("drafts")
    draft_objects = [draft if isinstance(draft, dict) else {} for draft in drafts] if isinstance(drafts, list) else []
    for draft in draft_objects:
        if draft.get("annotation") is not None or (entries and not draft):
            reading.findings.repair(BEGUN_AGAIN, place)
        else:
            person = _person(draft.get("user"))
            entries.append(Returned(file, "draft", (), image, person, _moment(draft), _seconds(draft)))
    return entries or [Returned(file, "untouched", (), image)]


def _read_annotation(annotation: _Json, file: str, image: int | None, place: str, reading: Reading) -> Returned:
    person, moment, seconds = _person(annotation.get("completed_by")), _moment(annotation), _seconds(annotation)
    if annotation.get("was_cancelled"):
        return Returned(file, "skipped", (), image, person, moment, seconds, _reason(annotation))
    result = annotation.get("result")
    if not isinstance(result, list) or not all(isinstance(region, dict) for region in result):
        reading.findings.fault(NO_RESULT, f"{place}, by {person or 'nobody named'}")
        result = []
    boxes, size = _read_boxes(result, file, f"{place}, by {person or 'nobody named'}", reading)
    return Returned(file, "labelled" if boxes else "empty", tuple(boxes), image, person, moment, seconds, size=size)


def _read_boxes(
    results: Iterable[_Json], file: str, place: str, reading: Reading
) -> tuple[list[Box], tuple[int, int] | None]:
    """Return the boxes of an annotation, and the size of the picture where it has that."""
    regions: dict[tuple[str, str], list[_Json]] = {}
    for position, result in enumerate(results):
        if isinstance(result.get("value"), dict) and result["value"].keys() & {
            *("x", "points", "rle", "vertices", "sequence", "imageDataURL")
        }:
            # Some converters give all regions the same id.
            outline = str([result["value"].get(key, 0) for key in OUTLINE])
            regions.setdefault((str(result.get("id", position)), outline), []).append(result)
        else:
            reading.findings.repair(OTHER_ANSWERS, f"{place}: {result.get('type')}")
    boxes: list[Box] = []
    size = None
    for (region, _), parts in regions.items():
        here = f"{place}: region {region}"
        width, height = (whole(number(parts[0].get(f"original_{side}"))) for side in ("width", "height"))
        stated_size = (width, height) if width and height and width > 0 and height > 0 else None
        size = size or stated_size
        if size is not None and stated_size is not None and stated_size != size:
            reading.findings.fault(
                SEVERAL_SIZES, f"{here}: {stated_size[0]} x {stated_size[1]}, and {size[0]} x {size[1]}"
            )
        elif (pixels := stated_size or reading.size_of(file)) is None:
            reading.lacks_size(here)
        elif number(parts[0].get("image_rotation") or 0) != 0:
            reading.findings.fault(TURNED_PICTURE, here)
        else:
            _add_region(boxes, parts, pixels, here, reading)
    return boxes, size


def _add_region(boxes: list[Box], parts: list[_Json], size: tuple[int, int], place: str, reading: Reading) -> None:
    label_values = [part["value"][key] for part in parts for key in part["value"] if key.endswith("labels")]
    labels = {
        str(label)
        for value in label_values
        for label in (value if isinstance(value, list) else [value])
        if isinstance(label, str | int)
    }
    outline, place = _outline(parts[0]["value"], size), f"{place}, {parts[0].get('type')}"
    if len(labels) != 1:
        reading.findings.fault(SEVERAL_CLASSES if labels else NO_CLASS, place)
    elif isinstance(outline, Finding):
        reading.findings.fault(outline, place)
    elif outline.upright or reading.takes_shape(place):
        reading.add_box(boxes, labels.pop(), outline.corners, size, place)


class _Outline(NamedTuple):
    corners: Corners
    upright: bool
    """Whether the shape itself is this box."""


def _outline(value: _Json, size: tuple[int, int]) -> _Outline | Finding:
    """Return the box around a shape in pixels, or what is wrong with it; its numbers are percent of the picture."""
    x_scale, y_scale = size[0] / 100, size[1] / 100
    if "rle" in value:
        corners = around_brush(value["rle"], size)
        return NO_BOX if corners is None else _Outline(corners, False)
    if "points" in value:
        pairs = value["points"] if isinstance(value["points"], list) else []
        numbers = [[number(coordinate) for coordinate in pair] if isinstance(pair, list) else [] for pair in pairs]
        points = [
            (x * x_scale, y * y_scale)
            for x, y in (pair for pair in numbers if len(pair) == 2)
            if x is not None and y is not None
        ]
        return NO_NUMBERS if not points or len(points) < len(pairs) else _Outline(around(points), False)
    keys = ("x", "y", *(("radiusX", "radiusY") if "radiusX" in value else ("width", "height")))
    if not set(keys) <= value.keys():
        return NO_BOX
    x, y, width, height = (number(value[key]) for key in keys)
    turn = number(value.get("rotation") or 0)
    if x is None or y is None or width is None or height is None or turn is None or width < 0 or height < 0:
        return NO_NUMBERS
    x, y, width, height = x * x_scale, y * y_scale, width * x_scale, height * y_scale
    if "radiusX" in value:
        return _Outline(around_ellipse(x, y, (width, height), turn), False)
    box = Corners(x, y, x + width, y + height)
    return _Outline(around_turned(box, (x, y), turn), False) if turn % 360 else _Outline(box, True)


def _picture(data: _Json) -> str | None:
    """Return the path of a task's picture as labelling tools serve it, without the server; None where it has none."""
    path = data.get("image")
    if not isinstance(path, str):
        candidates = [
            text
            for text in data.values()
            if isinstance(text, str) and any(part.lower().endswith(SUFFIXES) for part in text.split("?"))
        ]
        path = candidates[0] if len(candidates) == 1 else None
    if path is None or not is_text(path) or path.startswith("data:"):
        return None
    if path.startswith(SERVED):
        try:
            address = urlsplit(path)
        except ValueError:  # such as http://[server/a.jpg
            return None
        local_paths = parse_qs(address.query).get("d")
        path = local_paths[0] if local_paths else unquote(address.path).lstrip("/")
    elif "://" in path:  # a bucket, whose name is no part of the path
        path = path.partition("://")[2].partition("/")[2]
    return path or None


def _objects(values: _Json, key: str) -> list[_Json]:
    """Return the JSON objects in the list under a key; none where it is no list."""
    items = values.get(key)
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _person(value: object) -> str:
    """Return who labelled: an email address, a name or a number, as the export has it; empty where it has none."""
    if isinstance(value, dict):
        value = next((value[key] for key in ("email", "username", "id") if value.get(key) not in (None, "")), "")
    person = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else ""
    return person if is_text(person) else ""


def _moment(values: _Json) -> str:
    """Return when an entry was changed, or else made, in UTC; empty where that is not known."""
    for key in ("updated_at", "created_at"):
        try:
            moment = datetime.fromisoformat(values.get(key) or "")
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
        except (ValueError, TypeError, OverflowError):
            continue
    return ""


def _seconds(values: _Json) -> float | None:
    """Return how long an entry took; None where that is not known, or negative."""
    seconds = number(values.get("lead_time"))
    return None if seconds is None or seconds < 0 else seconds


def _reason(annotation: _Json) -> str:
    """Return why a task was skipped: comments, and texts and choices of the annotation."""
    comments = annotation.get("comments")
    texts = [comment.get("text") for comment in _objects(annotation, "comments")] or [comments]
    for value in (result.get("value") for result in _objects(annotation, "result")):
        texts += [part for key in ("text", "choices") for part in _texts(value, key)]
    return "; ".join(text.strip() for text in texts if isinstance(text, str) and is_text(text))


def _texts(value: object, key: str) -> list[object]:
    """Return what an answer has under a key, as a list."""
    content = value.get(key) if isinstance(value, dict) else None
    return content if isinstance(content, list) else [content]


def _latest(entries: Sequence[Returned]) -> list[Returned]:
    """Return the latest label of each picture and person, finished ones before drafts.

    An untouched entry is returned only if its picture has no other entry. Labels without a person are all returned.
    """
    latest: dict[tuple[object, ...], Returned] = {}
    touched_pictures = {entry.image or entry.file for entry in entries if entry.state != "untouched"}
    for position, entry in enumerate(entries):
        picture = entry.image or entry.file
        if entry.state == "untouched" and picture in touched_pictures:
            continue
        key = (picture, entry.by) if entry.by or entry.state == "untouched" else (picture, position)
        previous = latest.get(key)
        if previous is None or (entry.state != "draft", entry.at) >= (previous.state != "draft", previous.at):
            latest[key] = entry
    return list(latest.values())
