"""Settings of the data set: where it is and how it is read."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from mgral.config.section import Section

VocSplit = Annotated[str, Field(pattern=r"^([^/.][^/]*/)*[^/.][^/]*$")]
VocSplits = Annotated[
    tuple[VocSplit, ...],
    Field(min_length=1),
    BeforeValidator(
        lambda value: (value,) if isinstance(value, str) else value,
        json_schema_input_type=VocSplit | Annotated[tuple[VocSplit, ...], Field(min_length=1)],
    ),
]


class SyntheticData(Section):
    """Scenes drawn by seed; see `mgral.data.synthetic`."""

    format: Literal["synthetic"] = "synthetic"
    train_images: PositiveInt = 480
    """Images in the training set (labelled and pool together)."""
    test_images: PositiveInt = 160
    """Images in the test set."""
    seed: int = 0
    """Seed of the scenes; independent of the experiment's seeds."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


class VocData(Section):
    """Folders in the PASCAL VOC layout: Annotations, ImageSets/Main, JPEGImages.

    A split is the name of a list in ImageSets/Main, such as `trainval`, or FOLDER/NAME, such as `VOC2007/trainval`,
    where the layout is in a folder of the root. Several splits are read as one.
    """

    format: Literal["voc"]
    root: str
    """The folder, absolute or relative to the working directory."""
    download: Literal["voc2007+2012"] | None = None
    """What to download into `root`, unless it is there: PASCAL VOC 2007 and 2012, 2.9 GB, as VOC2007 and VOC2012."""
    mirror: str | None = None
    """URL, or folder, that has the archives, and the backbone's weights, by their published names; the public hosts
    unless given. Checksums are the same."""
    train_split: VocSplits = ("trainval",)
    """The split, or splits, whose images can be labelled."""
    test_split: VocSplits = ("test",)
    """The split, or splits, that only the final evaluation of a cycle sees."""
    train_difficult: bool = False
    """Learn objects marked `difficult`, and count them in rewards, as any other; else neither sees them."""
    test_difficult: bool = False
    """Score objects marked `difficult` as any other; else finding them counts neither way, as in VOC."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


class CocoData(Section):
    """COCO JSON files and the image folders that belong to them."""

    format: Literal["coco"]
    root: str
    """The folder that the other paths are relative to; absolute or relative to the working directory."""
    download: Literal["coco2017"] | None = None
    """What to download into `root`, unless it is there: COCO 2017, 20 GB, as annotations, train2017 and val2017."""
    mirror: str | None = None
    """URL, or folder, that has the archives, and the backbone's weights, by their published names; the public hosts
    unless given. Checksums are the same."""
    train_annotations: str = "annotations/instances_train.json"
    """COCO JSON of the images that can be labelled."""
    train_images: str = "train"
    """Folder of those images."""
    test_annotations: str = "annotations/instances_test.json"
    """COCO JSON that only the final evaluation of a cycle sees."""
    test_images: str = "test"
    """Folder of those images."""
    pool: Literal["all", "with_boxes"] = "all"
    """Training images that can be labelled: all, or those with a box to learn from, as torchvision, mmdetection and
    detectron2 have it: 117,266 of COCO 2017's 118,287. But which these are is known to who has looked at all only."""
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


DataConfig = Annotated[SyntheticData | VocData | CocoData, Field(discriminator="format")]
