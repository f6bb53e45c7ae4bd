"""Settings of the data set: where it is and how it is read."""

import re
from os.path import expanduser
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator

from mgral.config.section import Count, PathText, Section

Exif = Literal["apply", "ignore"]
DeepGrey = Literal["refuse", "full_range", "own_range"]
MaxPixels = Annotated[int, Field(ge=2)]
MAX_PIXELS = 178_956_970
"""Pillow's limit."""
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


def _check_pattern(pattern: str | None) -> str | None:
    """Return a regular expression; raises ValueError where it is none."""
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
    """Make a faulty box an error; otherwise faulty boxes are dropped and counted."""


class PictureSettings(Section):
    """How the files of pictures become pixels."""

    exif: Exif = "apply"
    """Rotate pictures upright by their EXIF orientation, as labelling tools show them, or use them as stored."""
    deep_grey: DeepGrey = "refuse"
    """Grey pictures of more than 8 bits: refuse them, or scale them to 8 bits. `full_range` scales from the full
    range of their type (16 bits from 0 to 65535, floats from 0 to 1), `own_range` from the lowest to the highest
    value of each picture."""
    max_pixels: MaxPixels = MAX_PIXELS
    """Largest number of pixels of a picture. Larger pictures are refused, because a small file can declare any size
    and fill the memory. The default is Pillow's limit. Decoding takes about 8 bytes a pixel."""


class FolderData(PictureSettings):
    """What all data sets on disk have in common."""

    root: Annotated[str, Field(min_length=1), AfterValidator(expanduser)]
    """The folder of the data set, absolute or relative to the working directory; `~` is the home folder."""
    mirror: PathText | None = None
    """URL or folder with the archives of a download and the backbone's weights, under their published names; the
    default is the public hosts. The published checksums are required."""
    classes: Names | None = None
    """Names of the classes to learn; boxes of other classes are left out and counted. null: the classes listed in the
    files."""
    unlabelled: Literal["leave_out", "background"] = "leave_out"
    """Images without labels: leave them out, because nobody can label them in an experiment, or count them as images
    without objects."""
    copies: Literal["refuse", "leave_out"] = "refuse"
    """Training images that are also test images, under any name: an error, or left out of training."""
    strict: bool = False
    """Make a faulty box an error; otherwise faulty boxes are dropped and counted."""


class VocData(FolderData):
    """Folders in the PASCAL VOC layout: Annotations, ImageSets/Main, JPEGImages.

    A split is the name of a list in ImageSets/Main, such as `trainval`, or FOLDER/NAME, such as `VOC2007/trainval`,
    where the layout is in a folder of the root. Several splits are read as one.
    """

    format: Literal["voc"]
    download: Literal["voc2007+2012"] | None = None
    """Data set to download into `root` unless it is there: PASCAL VOC 2007 and 2012, 2.9 GB, as VOC2007 and
    VOC2012."""
    train_split: VocSplits = ("trainval",)
    """The split, or splits, whose images can be labelled."""
    test_split: VocSplits = ("test",)
    """The split, or splits, used only for the evaluation of each cycle's detector."""
    train_difficult: bool = False
    """Use objects marked `difficult` in training and in rewards like any other; otherwise ignore them."""
    test_difficult: bool = False
    """Score objects marked `difficult` like any other; otherwise detecting them counts neither as right nor as wrong,
    as in VOC."""


class CocoData(FolderData):
    """COCO JSON files and their image folders; paths are relative to `root`."""

    format: Literal["coco"]
    download: Literal["coco2017"] | None = None
    """Data set to download into `root` unless it is there: COCO 2017, 20 GB, as annotations, train2017 and
    val2017."""
    train_annotations: PathText = "annotations/instances_train.json"
    """COCO JSON of the images that can be labelled."""
    train_images: PathText = "train"
    """Folder of those images."""
    test_annotations: PathText = "annotations/instances_test.json"
    """COCO JSON of the test images, used only for the evaluation of each cycle's detector."""
    test_images: PathText = "test"
    """Folder of those images."""
    unlabelled: Literal["leave_out", "background"] = "background"
    """Images without an annotation, which in COCO JSON can be empty or unlabelled: count them as images without
    objects, or leave them out, because nobody can label them in an experiment."""
    pool: Literal["all", "with_boxes"] = "all"
    """Training images that can be labelled: all, or only those with a box to learn from, as in torchvision,
    mmdetection and detectron2 (117,266 of COCO 2017's 118,287). Without labels nobody knows which images these
    are."""

    @field_validator("train_images", "test_images")
    @classmethod
    def _is_relative(cls, folder: str, info: ValidationInfo) -> str:
        if folder.startswith("/"):
            raise ValueError(f"data.{info.field_name}: {folder} is an absolute path; give it relative to data.root")
        return folder


class YoloData(FolderData):
    """A folder in the layout of Ultralytics YOLO: data.yaml, pictures, and a text file of labels for each."""

    format: Literal["yolo"]
    data_yaml: Annotated[str, Field(pattern=r"^([^/.][^/]*/)*[^/.][^/]*$")] = "data.yaml"
    """The file with the classes and the splits, relative to `root`."""
    train_split: Annotated[str, Field(min_length=1)] = "train"
    """The key of that file with the images that can be labelled."""
    test_split: Annotated[str, Field(min_length=1)] | None = None
    """The key of that file with the test images. null: `test`, or `val` if there is no `test`."""


class ProjectData(PictureSettings):
    """A round of a project: its labels, and the project's pictures; see `mgral.data.formats.snapshot`."""

    format: Literal["project"]
    snapshot: Annotated[str, Field(pattern=r"^([^/.][^/]*/)+[^/.][^/]*$")]
    """The file of the round's labels, such as `round3/snapshot.json`, relative to the project's folder, which is the
    working directory."""


class NearCopiesConfig(Section):
    """Criteria for near-copies, such as neighbouring frames of a video, on grey thumbnails of 24 x 24 pixels."""

    difference: Annotated[float, Field(ge=0, le=255)] = 5.0
    """Largest root mean square difference of two thumbnails, in grey levels of 255."""
    of_contrast: Annotated[float, Field(gt=0)] = 0.4
    """Largest ratio of that difference to the standard deviation of the thumbnail with less contrast. It keeps flat
    pictures of different objects, such as objects on the same ground, from counting as near-copies: they differ by
    few grey levels, but vary by few too."""
    pattern: Annotated[str | None, AfterValidator(_check_pattern), Field(exclude_if=lambda value: value is None)] = (
        None
    )
    """A regular expression for the path of a picture, used in place of the thumbnails. Pictures with the
    same matched text are near-copies; if the expression has groups, only their text counts. For example,
    `(video\\d+)_frame` groups all frames of a video."""


DiskData = VocData | CocoData | YoloData
DataConfig = Annotated[SyntheticData | DiskData | ProjectData, Field(discriminator="format")]


def download_of(data: DataConfig) -> Literal["voc2007+2012", "coco2017"] | None:
    """Return the public data set that is to be downloaded, if one is."""
    return data.download if isinstance(data, VocData | CocoData) else None
