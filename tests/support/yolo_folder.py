"""A small YOLO folder, and what its reader finds in it."""

from pathlib import Path

import pytest
from PIL import Image

from mgral.config import YoloData, resolve_config
from mgral.data.findings import FaultyDataError, Finding, Findings
from mgral.data.formats.yolo import label_file, read_yolo
from mgral.data.records import Split

YAML = "train: images/train\nval: images/val\nnames: [ant, bee]\nnc: 2\n"


def settings(root: Path, **more: object) -> YoloData:
    data = resolve_config({"data": {"format": "yolo", "root": str(root), **more}}).data
    assert isinstance(data, YoloData)
    return data


def read(root: Path, **more: object) -> tuple[Split, Split, Findings]:
    findings = Findings()
    train, test = read_yolo(root, settings(root, **more), findings)
    return train, test, findings


def picture(root: Path, name: str, labels: str | bytes | None = "0 0.5 0.5 0.2 0.4\n", orientation: int = 1) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    # Of a shade of its own, as the same file in both splits is a fault.
    Image.new("RGB", (200, 100), (len(list(root.rglob("*.jpg"))), 0, 0)).save(path, exif=exif)
    if labels is not None:
        place = root / label_file(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(labels.encode() if isinstance(labels, str) else labels)


def write_yolo_set(folder: Path) -> Path:
    """Write two splits of three pictures."""
    picture(folder, "images/train/b.jpg", "1 0.5 0.5 0.2 0.4\n0 0.1 0.2 0.2 0.4\n")
    picture(folder, "images/train/deep/a.jpg")
    picture(folder, "images/val/c.jpg", "1 0.5 0.5 1 1\n")
    (folder / "data.yaml").write_text(YAML)
    return folder


def names(split: Split) -> list[str]:
    return [image["file_name"] for image in split.coco["images"]]


def boxes(split: Split) -> list[list[float]]:
    return [pytest.approx(annotation["bbox"]) for annotation in split.coco["annotations"]]


def faults(root: Path, **more: object) -> dict[Finding, list[str]]:
    findings = Findings()
    try:
        read_yolo(root, settings(root, **more), findings)
    except FaultyDataError as error:
        return error.findings.faults
    return findings.faults


def write_list(root: Path, *lines: str, encoding: str = "utf-8") -> None:
    """Let a list of pictures in a file be the training images."""
    (root / "lists").mkdir(exist_ok=True)
    (root / "lists/train.txt").write_bytes("\r\n".join(lines).encode(encoding))
    (root / "data.yaml").write_text(YAML.replace("train: images/train", "train: lists/train.txt"))
