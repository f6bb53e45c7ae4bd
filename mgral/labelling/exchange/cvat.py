"""Reader of `CVAT for images 1.1`: annotations.xml, or the zip archive that contains it."""

from xml.etree import ElementTree

from mgral.data.findings import Finding
from mgral.data.formats.safe_xml import XmlError, parse_xml
from mgral.data.paths import is_text
from mgral.data.values import number, whole
from mgral.labelling.exchange.outlines import Corners, around, around_ellipse, around_turned, centre
from mgral.labelling.exchange.reading import (
    NO_BOX,
    NO_NUMBERS,
    NO_PICTURE,
    NOT_ALL,
    OTHER_ANSWERS,
    UNREADABLE,
    Content,
    Reading,
)
from mgral.labelling.records import Box, Returned

VIDEO = Finding("files are of the format `CVAT for video`", "export `CVAT for images 1.1`, which has each picture")
AUTOMATIC = "auto"
"""Source of shapes that a program drew, and that nobody changed."""


def read_cvat(reading: Reading) -> Content:
    """Read the shapes of each picture.

    The person is the assignee of the task or job, if there is one. The time is that of the last change of the job,
    which only the export of a single job has.
    """
    labels: list[Returned] = []
    classes: dict[str, None] = {}
    project = None
    for name in reading.source.ending(".xml"):
        place, content = reading.source.place(name), reading.content(name)
        try:
            root = None if content is None else parse_xml(content)
        except XmlError as error:
            reading.findings.fault(UNREADABLE, f"{place}: {error}")
            continue
        if root is None:
            continue
        if root.tag != "annotations" or root.find("track") is not None:
            reading.findings.fault(NOT_ALL if root.tag != "annotations" else VIDEO, f"{place}: <{root.tag}>")
            continue
        for element in root.iterfind("meta//labels/label/name"):
            classes[(element.text or "").strip()] = None
        project = root.findtext("meta/mgral/project") or project
        person = (root.findtext("meta/*/assignee/username") or "").strip()
        time = (root.findtext("meta/job/updated") or "").strip()
        returned = (_read_image(image, person, time, place, reading) for image in root.iterfind("image"))
        labels += [label for label in returned if label]
    return Content(labels, [class_name for class_name in classes if class_name], project)


def _read_image(image: ElementTree.Element, by: str, at: str, place: str, reading: Reading) -> Returned | None:
    name = image.get("name")
    if not is_text(name) or name is None:
        reading.findings.fault(NO_PICTURE, f"{place}: image {image.get('id')}")
        return None
    width, height = whole(image.get("width")), whole(image.get("height"))
    stated_size = (width, height) if width and height and width > 0 and height > 0 else None
    size = stated_size or reading.size_of(name)
    boxes: list[Box] = []
    sources = set()
    for position, shape in enumerate(image, start=1):
        here = f"{place}: {name}, shape {position}, {shape.tag}"
        if shape.tag == "tag":
            reading.findings.repair(OTHER_ANSWERS, here)
            continue
        sources.add(shape.get("source"))
        corners, upright = _outline(shape)
        if corners is None:
            reading.findings.fault(NO_NUMBERS if shape.tag in _KINDS else NO_BOX, here)
        elif upright or reading.takes_shape(here):
            reading.add_box(boxes, shape.get("label"), corners, size, here)
    returned = Returned(name, "labelled", tuple(boxes), whole(image.get("mgral_id")), by, at, size=stated_size)
    return reading.without_state(returned, automatic=sources == {AUTOMATIC})


_KINDS = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "mask": ("left", "top", "width", "height"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "polygon": (),
    "polyline": (),
}
"""Attributes of each kind of shape that a box can be drawn around; the last two have points."""


def _outline(shape: ElementTree.Element) -> tuple[Corners | None, bool]:
    """Return the box around a shape, None where it has none, and whether the shape is that box."""
    if shape.tag not in _KINDS:
        return None, False
    if not _KINDS[shape.tag]:
        return _around_points(shape.get("points", "")), False
    values = [number(shape.get(key)) for key in (*_KINDS[shape.tag], "rotation")]
    turn = values.pop() if "rotation" in shape.attrib else values.pop() or 0.0
    a, b, c, d = values
    if a is None or b is None or c is None or d is None or turn is None:
        return None, False
    if shape.tag == "mask":
        return Corners(a, b, a + c, b + d), False
    if shape.tag == "ellipse":
        return around_ellipse(a, b, (abs(c), abs(d)), turn), False
    box = Corners(a, b, c, d)
    return (around_turned(box, centre(box), turn), False) if turn % 360 else (box, True)


def _around_points(text: str) -> Corners | None:
    points = [tuple(map(number, pair.split(","))) for pair in text.split(";")]
    valid = [(x, y) for x, y in (pair for pair in points if len(pair) == 2) if x is not None and y is not None]
    return around(valid) if len(valid) == len(points) else None
