"""Where a data set is and which reader it takes."""

from pathlib import Path

from mgral.config import CocoData, DataConfig, SyntheticData
from mgral.data.check import Checked, check_splits, with_boxes
from mgral.data.formats.coco import read_coco
from mgral.data.formats.voc import read_voc
from mgral.errors import InputError


def data_folder(data: DataConfig, root: Path | None) -> Path:
    """Return the folder of the data set: `root`, where it is given, in place of the configured one."""
    if root is None:
        if isinstance(data, SyntheticData):
            raise InputError("synthetic data has no configured folder; pass --root, the folder made by `synthesize`")
        root = Path(data.root)
    if not root.is_dir():
        raise InputError(
            f"{root}: no such data folder; correct `data.root` or --root, or run the step `download` (again), which "
            "the workflow does where dataset/download.json is not there"
        )
    return root


def read_splits(data: DataConfig, root: Path) -> tuple[Checked, Checked]:
    """Read and check the training and the test images of a data set in the folder `root`."""
    if data.format == "voc":
        train, test = read_voc(root, data)
        return check_splits(train, test, root, data.strict)
    coco = data if isinstance(data, CocoData) else CocoData(format="coco", root=str(root))
    train = read_coco(root / coco.train_annotations, coco.train_images)
    test = read_coco(root / coco.test_annotations, coco.test_images)
    pool, tested = check_splits(train, test, root, data.strict)
    return with_boxes(pool) if coco.pool == "with_boxes" else pool, tested
