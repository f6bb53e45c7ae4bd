"""Experiments on data that are too sparse for what strategies need: none stops, and the report says what was done."""

import json

import numpy as np
import pytest
import yaml
from PIL import Image
from run_workflow import TINY, snakemake
from slow import slow

from mgral.artefacts.files import read_csv, read_json

STRATEGIES = {
    "random": {},
    "mgral": {"lut": {"labels": "pseudo_labels", "refresh": "every_cycle", "clusters": 8}},
    "by_labels": {"type": "mgral"},
    "entropy_sum": {},
    "core_set": {},
    "al_mdn": {},
}


def write_data(root, boxed, train, test=1):
    """Write images of one grey a split, of which some training images have a box, and all test images."""
    for split, count, grey in (("train", train, 0), ("test", test, 90)):
        (root / split).mkdir(parents=True)
        images = [{"id": i, "file_name": f"{split}{i}.png", "width": 64, "height": 48} for i in range(count)]
        for image in images:
            Image.fromarray(np.full((48, 64, 3), grey, np.uint8)).save(root / split / image["file_name"])
        boxes = [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [9, 9, 20, 20], "area": 400, "iscrowd": 0}
            for i in (boxed if split == "train" else range(count))
        ]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "kite"}]}
        (root / f"{split}.json").write_text(json.dumps(content))


def write_config(folder, **values):
    data = {"format": "coco", "root": "data", "train_annotations": "train.json", "test_annotations": "test.json"}
    data |= {"train_images": "train", "test_images": "test"}
    given = (
        yaml.safe_load(TINY.read_text()) | {"experiment": "sparse", "data": data, "strategies": STRATEGIES} | values
    )
    given["lut"] |= {"splits": 2}
    (folder / "sparse.yaml").write_text(yaml.safe_dump(given))
    return folder / "sparse.yaml"


@slow
@pytest.mark.timeout(1200)
def test_a_pool_that_ends_and_labels_without_an_object_stop_no_strategy(tmp_path):
    """Seed 0 draws an image without a box first; the last batch is all that is left of the pool."""
    write_data(tmp_path / "data", boxed=(4,), train=5)
    config = write_config(tmp_path, initial=1, budget=2, cycles=2)
    done = snakemake(tmp_path, "--cores", "2", "--keep-going", "--configfile", config)
    assert done.returncode == 0, done.stdout[-3000:]
    folder = tmp_path / "results" / "sparse"
    for name in STRATEGIES:
        place = folder / "seed0" / "strategies" / name
        assert read_json(place / "cycle2" / "labelled.json")["images"] == [0, 1, 2, 3, 4]
    found = read_csv(folder / "tables" / "random_rounds.csv")
    reasons = {(row["strategy"], row["cycle"]): row["reason"] for row in found}
    assert reasons["mgral", "0"].startswith("no object is found")
    assert reasons["mgral", "1"] == "lookup tables need 3 images in the pool, and there are 2"
    assert reasons["by_labels", "0"] == reasons["by_labels", "1"] == "rewards need 2 labelled images, and there is 1"
    assert reasons["entropy_sum", "0"] == reasons["core_set", "0"] == "all images of the pool have the same score"
    # The pool is taken whole, whatever the scores.
    assert ("entropy_sum", "1") not in reasons
    assert not {name for name, _ in reasons} & {"random"}
    page = (folder / "report.html").read_text()
    assert "Rounds chosen at random" in page
    assert "tables could not be made" in page
