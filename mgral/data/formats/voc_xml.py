"""Reader of one annotation file of the PASCAL VOC layout."""

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from mgral.artefacts.integrity import read_verified
from mgral.data.findings import Finding, Findings
from mgral.data.formats.safe_xml import XmlError, parse_xml
from mgral.data.paths import is_text
from mgral.data.records import LARGEST_SIDE, UNKNOWN_SIZE
from mgral.data.values import flag, number, whole

CORNERS = ("xmin", "ymin", "xmax", "ymax")

BAD_XML = Finding("annotation files cannot be read", "correct or remove them")
NO_VOC = Finding(
    "XML files are no VOC annotations", "give <annotation> with <object>s, without a namespace, or convert them"
)
BAD_ENTRY = Finding("entries of annotation files are missing, or are not what they should be", "correct them")
NO_FLAG = Finding("objects have a `difficult` that is neither 0 nor 1", "give 0 or 1")
BAD_CORNERS = Finding(
    "objects have their corners in the wrong order", "give xmin, ymin, xmax, ymax; are they x, y, width and height?"
)
FRACTIONS = Finding("annotation files have all corners within 0..1", "give pixels; these are fractions of the image")


class VocObject(NamedTuple):
    """An object as its file has it; the corners are VOC's, counted from 1."""

    name: str
    difficult: bool
    corners: tuple[float, float, float, float]


class VocAnnotation(NamedTuple):
    """What a file says of its image."""

    file_name: str
    """Empty where there is none."""
    size: tuple[int, int]
    """Width and height; both 0 where they are to be read from the picture."""
    objects: tuple[VocObject, ...]


def read_annotation(path: Path, findings: Findings) -> VocAnnotation | None:
    """Read a file; None, and a note, where it is none. Faulty objects are noted and left out."""
    try:
        content = read_verified(path)
    except OSError as error:
        findings.fault(BAD_XML, f"{path}: {error.strerror or error}")
        return None
    return parse_annotation(content, str(path), findings)


def parse_annotation(content: bytes, path: str, findings: Findings) -> VocAnnotation | None:
    """Return what the content of a file says, as `read_annotation` does; its path is for notes."""
    try:
        scene = parse_xml(content)
    except XmlError as error:
        findings.fault(BAD_XML, f"{path}: {error}")
        return None
    odd_tags = {
        element.tag for element in scene if element.tag != "object" and element.tag.lower() in ("object", "objects")
    }
    if scene.tag != "annotation" or odd_tags:
        findings.fault(NO_VOC, f"{path}: <{', '.join(sorted(odd_tags)) or scene.tag}>")
        return None
    objects = tuple(_read_objects(scene, path, findings))
    corners = [value for voc_object in objects for value in voc_object.corners]
    if corners and max(corners) <= 1 and any(value % 1 for value in corners):
        findings.fault(FRACTIONS, path)
        objects = ()
    return VocAnnotation((scene.findtext("filename") or "").strip(), _size(scene, path, findings), objects)


def _size(scene: ElementTree.Element, path: str, findings: Findings) -> tuple[int, int]:
    """Return width and height, both 0 where they are to be read from the picture."""
    texts = [(scene.findtext(f"size/{side}") or "0").strip() for side in ("width", "height")]
    sides = [side if side is not None and 0 <= side <= LARGEST_SIDE else None for side in map(whole, texts)]
    width, height = sides
    if width is None or height is None:
        findings.fault(BAD_ENTRY, f"{path}: the size {texts[0][:20]} x {texts[1][:20]}")
        return UNKNOWN_SIZE
    return (width, height) if width and height else (0, 0)


def _read_objects(scene: ElementTree.Element, path: str, findings: Findings) -> list[VocObject]:
    objects = (
        _read_object(element, f"{path}: object {place}", findings) for place, element in _numbered_objects(scene)
    )
    return [voc_object for voc_object in objects if voc_object]


def _numbered_objects(scene: ElementTree.Element) -> enumerate[ElementTree.Element]:
    return enumerate(scene.findall("object"), start=1)


def _read_object(element: ElementTree.Element, place: str, findings: Findings) -> VocObject | None:
    """Return an object; None, noted, where it is not valid."""
    name, difficult = (element.findtext("name") or "").strip(), flag(element.findtext("difficult"))
    texts = [(element.findtext(f"bndbox/{key}") or "-").strip() for key in CORNERS]
    xmin, ymin, xmax, ymax = map(number, texts)
    if difficult is None:
        findings.fault(NO_FLAG, f"{place}: {element.findtext('difficult')}")
    elif not is_text(name):
        findings.fault(BAD_ENTRY, f"{place} has no <name>")
    elif len(element.findall("name")) > 1 or len(element.findall("bndbox")) > 1:
        findings.fault(BAD_ENTRY, f"{place}, {name}: more than one <name> or <bndbox>")
    elif xmin is None or ymin is None or xmax is None or ymax is None:
        findings.fault(BAD_ENTRY, f"{place}, {name}: the corners {' '.join(texts)[:80]}")
    elif xmax < xmin or ymax < ymin:
        findings.fault(BAD_CORNERS, f"{place}, {name}: {' '.join(texts)[:80]}")
    else:
        return VocObject(name, bool(difficult), (xmin, ymin, xmax, ymax))
    return None
