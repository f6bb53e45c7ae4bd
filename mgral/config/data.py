"""Settings of the data set: where it is and how it is read."""

import re
from os.path import expanduser
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mgral.config.section import Count, PathText, Section

Exif = Literal["apply", "ignore"]
DeepGrey = Literal["refuse", "full_range", "own_range"]
Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
VocSplit = Annotated[str, Field(pattern=r"^([^/.][^/]*/)*[^/.][^/]*$")]
VocSplits = Annotated[
    tuple[VocSplit, ...],
    Field(min_length=1),
    BeforeValidator(
        lambda value: (value,) if isinstance(value, str) else value,
        json_schema_input_type=VocSplit | Annotated[tuple[VocSplit, ...], Field(min_length=1)],
    ),
]


def _compiles(pattern: str | None) -> str | None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"near_copies.pattern: {pattern!r} is no regular expression ({error}); correct it") from None
    return pattern


class SyntheticData(Section):
    """Scenes drawn by seed; see `mgral.data.synthetic`."""

    format: Literal["synthetic"] = "synthetic"
    train_images: Count = 480
    """Images in the training set (labelled and pool together)."""
    test_images: Count = 160
    """Images in the test set."""
    seed: int = 0
    """Seed of the scenes; independent of the experiment's seeds."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


class PictureSettings(Section):
    """How the files of pictures become pixels."""

    exif: Exif = "apply"
    """Turn pictures upright as their EXIF orientation says, as labelling tools show them, or take them as stored."""
    deep_grey: DeepGrey = "refuse"
    """Grey pictures of more than 8 bits: refused, or scaled to 8 bits from the full range of their type (16 bits from
    0 to 65535, floats from 0 to 1) or from each picture's own range, lowest value black and highest white."""
    max_pixels: Annotated[int, Field(ge=2)] = 178_956_970
    """Pixels of the largest picture that is opened. Larger ones are refused, as a small file can claim any size and
    so fill the memory; the default is Pillow's limit. Decoding takes about 8 bytes a pixel."""


class FolderData(PictureSettings):
    """What all data sets on disk have in common."""

    root: Annotated[str, Field(min_length=1), AfterValidator(expanduser)]
    """The folder of the data set, absolute or relative to the working directory; `~` is the home folder."""
    mirror: PathText | None = None
    """URL, or folder, that has the archives of a download, and the backbone's weights, by their published names; the
    public hosts unless given. Checksums are the same."""
    classes: Names | None = None
    """Names of the classes to learn; boxes of others are left out, with a count. Else those that the files list."""
    unlabelled: Literal["leave_out", "background"] = "leave_out"
    """Images that have no labels: left out, as no one can label them in a replay, or taken for images without
    objects."""
    copies: Literal["refuse", "leave_out"] = "refuse"
    """Training images whose file is a test image too, under any name: an error, or left out of training."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


class VocData(FolderData):
    """Folders in the PASCAL VOC layout: Annotations, ImageSets/Main, JPEGImages.

    A split is the name of a list in ImageSets/Main, such as `trainval`, or FOLDER/NAME, such as `VOC2007/trainval`,
    where the layout is in a folder of the root. Several splits are read as one.
    """

    format: Literal["voc"]
    download: Literal["voc2007+2012"] | None = None
    """What to download into `root`, unless it is there: PASCAL VOC 2007 and 2012, 2.9 GB, as VOC2007 and VOC2012."""
    train_split: VocSplits = ("trainval",)
    """The split, or splits, whose images can be labelled."""
    test_split: VocSplits = ("test",)
    """The split, or splits, that only the final evaluation of a cycle sees."""
    train_difficult: bool = False
    """Learn objects marked `difficult`, and count them in rewards, as any other; else neither sees them."""
    test_difficult: bool = False
    """Score objects marked `difficult` as any other; else finding them counts neither way, as in VOC."""


class CocoData(FolderData):
    """COCO JSON files and the image folders that belong to them; their paths are relative to `root`."""

    format: Literal["coco"]
    download: Literal["coco2017"] | None = None
    """What to download into `root`, unless it is there: COCO 2017, 20 GB, as annotations, train2017 and val2017."""
    train_annotations: PathText = "annotations/instances_train.json"
    """COCO JSON of the images that can be labelled."""
    train_images: PathText = "train"
    """Folder of those images."""
    test_annotations: PathText = "annotations/instances_test.json"
    """COCO JSON that only the final evaluation of a cycle sees."""
    test_images: PathText = "test"
    """Folder of those images."""
    unlabelled: Literal["leave_out", "background"] = "background"
    """Images without an annotation: COCO JSON does not say whether somebody looked for objects in them. Taken for
    images without objects, or left out, as no one can label them in a replay."""
    pool: Literal["all", "with_boxes"] = "all"
    """Training images that can be labelled: all, or those with a box to learn from, as torchvision, mmdetection and
    detectron2 have it: 117,266 of COCO 2017's 118,287. But which these are is known to who has looked at all only."""


class YoloData(FolderData):
    """A folder in the layout of Ultralytics YOLO: data.yaml, pictures, and a text file of labels for each."""

    format: Literal["yolo"]
    data_yaml: Annotated[str, Field(pattern=r"^([^/.][^/]*/)*[^/.][^/]*$")] = "data.yaml"
    """The file that names the classes and the splits, relative to `root`."""
    train_split: Annotated[str, Field(min_length=1)] = "train"
    """The key of that file with the images that can be labelled."""
    test_split: Annotated[str, Field(min_length=1)] | None = None
    """The key with those that only the final evaluation of a cycle sees: `test`, or `val` where there is no `test`,
    unless given."""


class ProjectData(PictureSettings):
    """A round of a project: its labels, and the project's pictures; see `mgral.data.formats.snapshot`."""

    format: Literal["project"]
    snapshot: Annotated[str, Field(pattern=r"^([^/.][^/]*/)+[^/.][^/]*$")]
    """The file of the round's labels, such as `round3/snapshot.json`, relative to the working directory, which is the
    project's folder."""


class NearCopiesConfig(Section):
    """When two pictures are near-copies, such as neighbouring frames of a video, as 24 x 24 grey thumbnails."""

    difference: Annotated[float, Field(ge=0, le=255)] = 5.0
    """Largest root mean square of their difference, in grey levels of 255."""
    of_contrast: Annotated[float, Field(gt=0)] = 0.4
    """Largest share of it in the standard deviation of the thumbnail of less contrast. Flat pictures of different
    things, such as objects on the same ground, differ by few grey levels, but they do not vary by more."""
    pattern: Annotated[str | None, AfterValidator(_compiles), Field(exclude_if=lambda value: value is None)] = None
    """Of a project: a regular expression on the path of a picture, in place of the thumbnails. Pictures in which it
    finds the same text, in its groups or else as a whole, are near-copies: `(video\\d+)_frame` puts all frames of a
    video together."""


DiskData = VocData | CocoData | YoloData
DataConfig = Annotated[SyntheticData | DiskData | ProjectData, Field(discriminator="format")]


def download_of(data: DataConfig) -> Literal["voc2007+2012", "coco2017"] | None:
    """Return the public data set that is to be downloaded, if one is."""
    return data.download if isinstance(data, VocData | CocoData) else None
