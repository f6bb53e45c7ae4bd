"""Settings of the data set: where it is and how it is read."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from mgral.config.section import Section


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
    """A folder in the PASCAL VOC layout: Annotations, ImageSets/Main, JPEGImages."""

    format: Literal["voc"]
    root: str
    """The folder, absolute or relative to the working directory."""
    download: Literal["voc2007+2012"] | None = None
    """What to download into `root`, unless it is there: PASCAL VOC 2007 and 2012, 2.9 GB, as VOC2007 and VOC2012."""
    mirror: str | None = None
    """URL, or folder, that has the archives, and the backbone's weights, by their published names; the public hosts
    unless given. Checksums are the same."""
    train_split: str = "trainval"
    """Name of the list in ImageSets/Main whose images can be labelled."""
    test_split: str = "test"
    """Name of the list in ImageSets/Main that only the final evaluation of a cycle sees."""
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
    strict: bool = False
    """Make a faulty box an error instead of dropping it with a count."""


DataConfig = Annotated[SyntheticData | VocData | CocoData, Field(discriminator="format")]
