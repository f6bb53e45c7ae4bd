"""What is published where: the archives of PASCAL VOC 2007 and 2012 and of COCO 2017, and what they unpack to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple


class Checksum(NamedTuple):
    """What a file's hash starts with, in hexadecimal digits."""

    algorithm: str
    """Name of the hash algorithm in `hashlib`."""
    digits: str


@dataclass(frozen=True)
class Published:
    """A file as its makers publish it."""

    url: str
    checksum: Checksum
    bytes: int | None = None

    @property
    def name(self) -> str:
        """The name of the file, by which mirrors have it too."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Folder:
    """A folder in `data.root`, what it is unpacked from, and what it shows when it is complete."""

    name: str
    archives: tuple[Published, ...]
    within: str
    """The folder's path in its archives; what they contain beside it is left there."""
    entries: Mapping[str, int]
    """Images named in each list or COCO JSON of the archive, or fewest files in each folder."""

    @property
    def bytes(self) -> int:
        """Size of its archives, which is about that of the folder too, as JPEG files do not get smaller."""
        return sum(archive.bytes or 0 for archive in self.archives)


_VOC = "http://host.robots.ox.ac.uk/pascal/VOC"
_COCO = "http://images.cocodataset.org"


def _archive(url: str, size: int, md5: str) -> Published:
    return Published(url, Checksum("md5", md5), size)


DATA_SETS: dict[str, tuple[Folder, ...]] = {
    "voc2007+2012": (
        Folder(
            "VOC2007",
            (
                _archive(
                    f"{_VOC}/voc2007/VOCtrainval_06-Nov-2007.tar", 460_032_000, "c52e279531787c972589f7e41ab4ae64"
                ),
                _archive(f"{_VOC}/voc2007/VOCtest_06-Nov-2007.tar", 451_020_800, "b6e924de25625d8de591ea690078ad9f"),
            ),
            "VOCdevkit/VOC2007",
            {
                "ImageSets/Main/trainval.txt": 5_011,
                "ImageSets/Main/test.txt": 4_952,
                "Annotations": 9_963,
                "JPEGImages": 9_963,
            },
        ),
        Folder(
            "VOC2012",
            (
                _archive(
                    f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar", 1_999_639_040, "6cd6e144f989b92b3379bac3b3de84fd"
                ),
            ),
            "VOCdevkit/VOC2012",
            {"ImageSets/Main/trainval.txt": 11_540, "Annotations": 11_540, "JPEGImages": 11_540},
        ),
    ),
    "coco2017": (
        Folder(
            "annotations",
            (
                _archive(
                    f"{_COCO}/annotations/annotations_trainval2017.zip",
                    252_907_541,
                    "f4bbac642086de4f52a3fdda2de5fa2c",
                ),
            ),
            "annotations",
            {"instances_train2017.json": 118_287, "instances_val2017.json": 5_000},
        ),
        Folder(
            "val2017",
            (_archive(f"{_COCO}/zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80"),),
            "val2017",
            {".": 5_000},
        ),
        Folder(
            "train2017",
            (_archive(f"{_COCO}/zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2"),),
            "train2017",
            {".": 118_287},
        ),
    ),
}
"""Archives by the values of `data.download`. Sizes and checksums are those of the makers' own hosts."""


def published_content(name: str) -> dict[str, Any]:
    """Return the contents of a public data set's folders, with the archives' checksums, for `download.json`."""
    folders = {
        folder.name: {
            "archives": {archive.name: ":".join(archive.checksum) for archive in folder.archives},
            "images": dict(folder.entries),
        }
        for folder in DATA_SETS[name]
    }
    return {"data_set": name, "folders": folders}
