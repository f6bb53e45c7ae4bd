"""Reader of VOC XML of labelling tools: a file for each picture, in a folder or an archive."""

from pathlib import PurePosixPath

from mgral.data.findings import Finding
from mgral.data.formats.text import lines_of
from mgral.data.formats.voc import CLASS_LISTS
from mgral.data.formats.voc_xml import parse_annotation
from mgral.labelling.exchange.outlines import Corners
from mgral.labelling.exchange.reading import UNREADABLE, Content, Reading
from mgral.labelling.records import Box, Returned

ANNOTATIONS = "Annotations"
"""Folder of the XML files in VOC's layout."""
OTHER_PICTURE = Finding(
    "XML files name another picture in <filename> than their own name does, and both are known",
    "correct <filename>, or rename the file",
)


def read_voc_labels(reading: Reading) -> Content:
    """Read the boxes of each XML file, whose corners count from 1; objects marked difficult are objects.

    A picture is named by <filename>, or by its XML file without suffix, where only that is known.
    """
    labels: list[Returned] = []
    for name in reading.source.ending(".xml"):
        place, content = reading.source.place(name), reading.content(name)
        annotation = None if content is None else parse_annotation(content, place, reading.findings)
        if annotation is None:
            continue
        picture = _picture(annotation.file_name, name, reading)
        stated_size = annotation.size if min(annotation.size) > 0 else None
        boxes: list[Box] = []
        for position, voc_object in enumerate(annotation.objects, start=1):
            corners = Corners(*(value - 1 for value in voc_object.corners))
            size = stated_size or reading.size_of(picture)
            reading.add_box(boxes, voc_object.name, corners, size, f"{place}: object {position}, {voc_object.name}")
        labels.append(reading.without_state(Returned(picture, "labelled", tuple(boxes), size=stated_size)))
    return Content(labels, _classes(reading))


def _picture(file_name: str, name: str, reading: Reading) -> str:
    """Return the picture of an XML file: the one that it names, or else the one that is called as itself.

    A name without folders is one of the XML file's own folder, which in VOC's layout is below Annotations.
    """
    without_suffix = str(PurePosixPath(name).with_suffix(""))
    named_path = PurePosixPath(file_name.replace("\\", "/"))
    if not file_name or named_path.stem == PurePosixPath(without_suffix).name:
        folders = PurePosixPath(name).parent.parts
        subfolders = folders[folders.index(ANNOTATIONS) + 1 :] if ANNOTATIONS in folders else folders
        return (
            "/".join((*subfolders, file_name))
            if file_name and file_name == named_path.name
            else file_name or without_suffix
        )
    if reading.size_of(without_suffix) is None:
        return file_name
    if reading.size_of(file_name) is not None:
        reading.findings.fault(OTHER_PICTURE, f"{reading.source.place(name)}: {file_name}")
    return without_suffix


def _classes(reading: Reading) -> list[str]:
    """Return the classes that a list beside the XML files names."""
    lists = [name for name in reading.source.names if PurePosixPath(name).name in CLASS_LISTS]
    content = reading.content(lists[0]) if lists else None
    try:
        lines = [] if content is None else [line.strip() for line in lines_of(content)]
    except UnicodeError as error:
        reading.findings.fault(UNREADABLE, f"{reading.source.place(lists[0])}: {error}")
        return []
    # CVAT's list is `name:colour:parts:actions`, below a comment.
    return [
        line.rsplit(":", 3)[0] if line.count(":") > 2 else line for line in lines if line and not line.startswith("#")
    ]
