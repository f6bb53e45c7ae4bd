"""Labels that come back from a labelling tool, whatever its format."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from mgral.errors import InputError
from mgral.labelling.exchange.coco import read_coco_labels
from mgral.labelling.exchange.cvat import read_cvat
from mgral.labelling.exchange.label_studio import read_label_studio
from mgral.labelling.exchange.reading import (
    FRACTIONS,
    NO_LABELS,
    Content,
    Empty,
    Reading,
    SentBoxes,
    Shapes,
    SizeOf,
)
from mgral.labelling.exchange.sources import Source, open_source
from mgral.labelling.exchange.voc import read_voc_labels
from mgral.labelling.exchange.yolo import CLASS_LISTS, read_yolo_labels
from mgral.labelling.records import Returned, ReturnedFile

FormatName = Literal["label_studio", "cvat", "coco", "yolo", "voc"]
READERS: dict[FormatName, Callable[[Reading], Content]] = {
    "label_studio": read_label_studio,
    "cvat": read_cvat,
    "coco": read_coco_labels,
    "yolo": read_yolo_labels,
    "voc": read_voc_labels,
}
_ROOT = re.compile(rb"(?>(?:<\?.*?\?>|<!--.*?-->|<![^>\[]*(?:\[.*?\]\s*)?>)\s*)*+<([A-Za-z_][\w:.-]*)", re.DOTALL)
"""The first element, behind a declaration, comments and a document type."""
_SUFFIXES: dict[FormatName, tuple[str, ...]] = {
    "label_studio": (".json",),
    "cvat": (".xml",),
    "coco": (".json",),
    "yolo": (".txt", ".yaml", ".yml", *CLASS_LISTS),
    "voc": (".xml",),
}
SMALL = 16
"""Pictures with a side of at most so many pixels may well have only boxes of one pixel."""
_ROOTS: dict[bytes, FormatName] = {b"annotations": "cvat", b"annotation": "voc"}
_YAML_NAMES = re.compile(rb"^names\s*:", re.MULTILINE)


def read_labels(
    path: Path,
    size_of: SizeOf,
    *,
    format: FormatName | None = None,
    shapes: Shapes = "envelope",
    empty: Empty = "unknown",
    sent: SentBoxes | None = None,
    leave_out_unknown: bool = False,
    today: Callable[[str], str] = str,
) -> ReturnedFile:
    """Read what a labelling tool wrote: a file, a folder, or a zip archive. Classes and pictures are not checked.

    Parameters
    ----------
    path
        The file, the folder, the archive, or the data.yaml in a folder of YOLO labels.
    size_of
        Gives the size of a picture by the name that the file has: YOLO cannot be read without.
    format
        Its format; None to find it out from the content.
    shapes
        What is done with polygons, masks, ellipses and turned boxes: the upright box around each is used, or they are
        faults.
    empty
        For formats without states. "unknown": pictures without boxes, or with exactly the boxes that they were sent
        with, count as untouched. "checked": somebody looked at every picture, and its boxes are all its objects.
    sent
        Gives the boxes that a picture was sent with, by the name that the file has.
    leave_out_unknown
        Whether pictures of unknown size will be left out, so that their labels need not be understood.
    today
        Gives the name by which `sent` calls a class of the file.

    Returns
    -------
    What was found, with faults and repairs; a file with faults is not to be used.

    Raises
    ------
    InputError
        Where nothing can be read, or the format cannot be found out.
    """
    labels_path = labels_at(path)
    with open_source(labels_path) as source:
        kind = format or _format_of(source)
        if not source.ending(*_SUFFIXES[kind]):
            raise InputError(f"{path} contains no {kind} file; name the right format, or another file")
        if source.single and kind == "yolo":
            raise InputError(f"{path}: YOLO labels are several files; name their folder or archive")
        reading = Reading(source, size_of, sent, shapes, empty, leave_out_unknown, today)
        content = READERS[kind](reading)
    if not content.labels and not reading.findings.faults:
        reading.findings.repair(NO_LABELS, str(path))
    if kind in ("coco", "cvat") and _are_fractions(content.labels):
        reading.findings.fault(FRACTIONS, str(path))
    classes = dict.fromkeys([*content.classes, *(box.label for entry in content.labels for box in entry.boxes)])
    return ReturnedFile(labels_path, kind, tuple(content.labels), tuple(classes), content.project, reading.findings)


def _are_fractions(labels: Sequence[Returned]) -> bool:
    """Return whether all boxes lie in the first pixel of pictures that have more than a few."""
    boxes = [box for entry in labels if entry.size is None or min(entry.size) > SMALL for box in entry.boxes]
    return (
        any(side % 1 for box in boxes for side in box[:4])
        and max(max(box.x + box.width, box.y + box.height) for box in boxes) <= 1
    )


def labels_at(path: Path) -> Path:
    """Return what is read where a file of labels is named: the folder of a data.yaml, else the file itself."""
    return path.parent if path.suffix.lower() in (".yaml", ".yml") and path.is_file() else path


def _format_of(source: Source) -> FormatName:
    kinds: dict[FormatName, str] = {}
    for name in source.names:
        kind = _kind_of(name, source)
        if kind is not None:
            kinds.setdefault(kind, name)
    if not kinds:
        raise InputError(
            f"{source.path} contains no labels of a known format; export Label Studio's JSON, CVAT for images 1.1, "
            f"COCO, YOLO with data.yaml, or VOC, or name the format: {', '.join(READERS)}"
        )
    if len(kinds) > 1:
        listed = ", ".join(f"{kind} ({name})" for kind, name in kinds.items())
        raise InputError(f"{source.path} contains labels of several formats: {listed}; name one of them")
    return next(iter(kinds))


def _as_utf8(content: bytes) -> bytes:
    """Return the content of a JSON or XML file in UTF-8; zeros among its first four bytes show its encoding."""
    encoding = json.detect_encoding(content[:4])
    return content if encoding.startswith("utf-8") else content.decode(encoding, "replace").lstrip("\ufeff").encode()


def _kind_of(name: str, source: Source) -> FormatName | None:
    """Return the format that a file is a part of, if of any."""
    suffix = PurePosixPath(name).suffix.lower()
    if PurePosixPath(name).name in CLASS_LISTS:
        return None if any(other_name.lower().endswith(".xml") for other_name in source.names) else "yolo"
    if suffix not in (".json", ".xml", ".yaml", ".yml") and not source.single:
        return None
    try:
        content = _as_utf8(source.content(name)).lstrip(b"\xef\xbb\xbf \t\r\n")
    except OSError as error:
        raise InputError(f"{source.place(name)}: {error.strerror}; check the file") from None
    if suffix in (".yaml", ".yml"):
        return "yolo" if _YAML_NAMES.search(content) else None
    if content.startswith(b"["):
        return "label_studio"
    if content.startswith(b"{"):
        if b'"images"' not in content and b'"data"' in content:  # a task by itself
            return "label_studio"
        return "coco" if source.single or (b'"images"' in content and b'"annotations"' in content) else None
    root = _ROOT.match(content)
    return _ROOTS.get(root[1]) if root else None
