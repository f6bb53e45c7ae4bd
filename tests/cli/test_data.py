"""The step `data`: what it writes, and every kind of data set that it must refuse."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from run_workflow import ROOT

from mgral.cli.main import mgral
from mgral.config import CocoData
from mgral.data.check import check_splits
from mgral.data.dataset import load_dataset
from mgral.data.findings import Findings
from mgral.data.records import Coco, Split
from mgral.errors import InputError

Change = Callable[[dict[str, Any], dict[str, Any]], object]
CONFIG = "{initial: 1, budget: 1, cycles: 1, data: {format: coco, root: ROOT, strict: STRICT}}"


def annotation(number: int, image: int, category: int, box: list[float], **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0, **more}


def coco_files() -> tuple[dict[str, Any], dict[str, Any]]:
    categories = [{"id": 4, "name": "bee"}, {"id": 0, "name": "ant"}]
    images = [{"id": number, "file_name": f"{number}.png", "width": 20, "height": 10} for number in (3, 1, 2)]
    train = [annotation(2, 3, 4, [1, 1, 5, 5], area=20), annotation(1, 1, 0, [0, 0, 20, 10])]
    test = [annotation(1, 1, 0, [2, 2, 3, 3])]
    return (
        {"images": images, "annotations": train, "categories": categories},
        copy.deepcopy({"images": images[1:2], "annotations": test, "categories": categories}),
    )


def write_folder(root: Path, change: Change | None = None) -> Path:
    train, test = coco_files()
    for split, coco in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        for image in coco["images"]:
            (root / split / image["file_name"]).touch()
    if change:
        change(train, test)
    (root / "annotations").mkdir()
    for split, coco in (("train", train), ("test", test)):
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(coco))
    return root


def run(folder: Path, *more: str, strict: bool = False, config: str = CONFIG) -> Result:
    path = folder / "config.yaml"
    path.write_text(config.replace("ROOT", str(folder / "set")).replace("STRICT", str(strict).lower()))
    out = ["--train", str(folder / "out" / "train.json"), "--test", str(folder / "out" / "test.json")]
    return CliRunner().invoke(mgral, ["data", "--config", str(path), *out, *more])


def test_writes_checked_coco_json(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    result = run(tmp_path)
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out" / "train.json").read_text()) == {
        "images": [{"id": n, "file_name": f"train/{n}.png", "width": 20, "height": 10} for n in (1, 2, 3)],
        "annotations": [
            annotation(1, 1, 0, [0, 0, 20, 10], area=200),
            annotation(2, 3, 4, [1, 1, 5, 5], area=20),
        ],
        "categories": [{"id": 0, "name": "ant"}, {"id": 4, "name": "bee"}],
    }
    train = load_dataset(tmp_path / "out" / "train.json")
    assert [len(boxes) for boxes in train.boxes] == [1, 0, 1]
    assert train.boxes[2].tolist() == [[1, 1, 6, 6]]
    assert train.labels[2].tolist() == [1]
    assert result.stderr.startswith("train: 3 images (1 without boxes), 2 boxes, 2 classes\n")


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    run(tmp_path)
    before = (tmp_path / "out" / "train.json").read_bytes()
    run(tmp_path)
    assert (tmp_path / "out" / "train.json").read_bytes() == before


def test_counts_are_printed(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", lambda train, _: train["annotations"].append(crowd(9)))
    counts = json.loads(run(tmp_path, "--json").stdout)
    assert counts["train"] == {
        "ant": {"images": 1, "boxes": 1, "ignored": 1},
        "bee": {"images": 1, "boxes": 1, "ignored": 0},
    }
    assert counts["test"]["bee"] == {"images": 0, "boxes": 0, "ignored": 0}
    table = run(tmp_path).stdout.splitlines()
    assert [line.split() for line in table[1:]] == [["ant", "1", "1", "1", "1"], ["bee", "1", "1", "0", "0"]]


def crowd(number: int) -> dict[str, Any]:
    return {**annotation(number, 1, 0, [0, 0, 5, 5]), "iscrowd": 1}


def test_root_replaces_the_configured_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "elsewhere")
    assert isinstance(run(tmp_path).exception, InputError)
    assert run(tmp_path, "--root", str(tmp_path / "elsewhere")).exit_code == 0


FAULTY = (
    ([5, 5, 0, 3], "Boxes have no area (1)"),
    ([5.3, 5, 1e-6, 3], "Boxes have no area (1)"),
    ([19.999, 2, 3, 3], "Boxes lie outside of their image (1)"),
    ([20, 2, 3, 3], "Boxes lie outside of their image (1)"),
    ([-9, 2, 9, 3], "Boxes lie outside of their image (1)"),
)


@pytest.mark.parametrize(("box", "count"), FAULTY)
def test_faulty_boxes_are_dropped_with_a_count(tmp_path: Path, box: list[float], count: str) -> None:
    write_folder(tmp_path / "set", lambda train, _: train["annotations"].append(annotation(8, 2, 0, box)))
    result = run(tmp_path)
    assert count in result.stderr
    written = json.loads((tmp_path / "out" / "train.json").read_text())
    assert [a["id"] for a in written["annotations"]] == [1, 2]


def test_boxes_that_leave_the_image_are_clipped_with_a_count(tmp_path: Path) -> None:
    box = annotation(8, 2, 0, [15, -2, 10, 5], area=44)
    write_folder(tmp_path / "set", lambda train, _: train["annotations"].append(box))
    assert "Boxes leave their image (1): clipped" in run(tmp_path).stderr
    written = json.loads((tmp_path / "out" / "train.json").read_text())["annotations"][-1]
    assert (written["bbox"], written["area"]) == ([15, 0, 5, 3], 15)


def test_rounding_is_no_fault(tmp_path: Path) -> None:
    box = annotation(8, 2, 0, [15.01, 0, 5, 5])
    write_folder(tmp_path / "set", lambda train, _: train["annotations"].append(box))
    assert run(tmp_path, strict=True).exit_code == 0
    written = json.loads((tmp_path / "out" / "train.json").read_text())["annotations"][-1]
    assert written["bbox"][0] + written["bbox"][2] <= 20


@pytest.mark.parametrize("box", [box for box, _ in FAULTY] + [[15, -2, 10, 5]])
def test_strict_makes_faulty_boxes_errors(tmp_path: Path, box: list[float]) -> None:
    write_folder(tmp_path / "set", lambda train, _: train["annotations"].append(annotation(8, 2, 0, box)))
    error = run(tmp_path, strict=True).exception
    assert isinstance(error, InputError)
    assert "instances_train.json: annotation 8 of image train/2.png" in str(error)
    assert not (tmp_path / "out").exists()


REFUSED: dict[str, tuple[Change, str]] = {
    "image id twice": (lambda a, b: a["images"][0].update(id=1), "share an id or a file (1)"),
    "file name twice": (lambda a, b: a["images"][0].update(file_name="1.png"), "instances_train.json: train/1.png"),
    "category id twice": (lambda a, b: a["categories"][0].update(id=0), "id 0: 'ant', 'bee'"),
    "category name twice": (lambda a, b: a["categories"][0].update(name="ant"), "'ant': ids 0, 4"),
    "unknown image": (lambda a, b: a["annotations"][0].update(image_id=99), "annotation 2: image_id 99"),
    "unknown category": (lambda a, b: a["annotations"][0].update(category_id=9), "annotation 2: category_id 9"),
    "no images": (lambda a, b: a.update(images=[], annotations=[]), "instances_train.json"),
    "no categories": (lambda a, b: a.update(categories=[], annotations=[]), "'ant' (id 0)"),
    "image of negative size": (lambda a, b: a["images"][0].update(width=-1), "image 3: -1 x 10 pixels"),
    "negative box": (lambda a, b: a["annotations"][0].update(bbox=[5, 5, -2, 2]), "annotation 2 of image 3"),
    "NaN box": (lambda a, b: a["annotations"][0].update(bbox=[5, 5, float("nan"), 2]), "annotation 2 of image 3"),
    "another name in test": (lambda a, b: b["categories"][1].update(name="wasp"), "id 0: 'ant', 'wasp'"),
    "a class of test only": (
        lambda a, b: b["categories"].append({"id": 9, "name": "fly"}) or b["annotations"][0].update(category_id=9),
        "'fly' (id 9)",
    ),
    "class without training boxes": (
        lambda a, b: b["annotations"][0].update(category_id=4) or a["annotations"].pop(0),
        "instances_train.json: 'bee'",
    ),
    "test without boxes": (lambda a, b: b.update(annotations=[]), "no box to score"),
    "missing image file": (lambda a, b: a["images"][0].update(file_name="gone.png"), "train/gone.png"),
    "crowds only": (
        lambda a, b: [entry.update(iscrowd=1) for entry in a["annotations"]],
        "mark all boxes as crowds",
    ),
    "fractions": (
        lambda a, b: [entry.update(bbox=[0.1, 0.1, 0.5, 0.9]) for entry in a["annotations"]],
        "instances_train.json: 2 of 2 boxes",
    ),
    "fractions of a pixel": (
        lambda a, b: [entry.update(bbox=[3, 3, 0.5, 0.9]) for entry in b["annotations"]],
        "instances_test.json: 1 of 1 boxes",
    ),
}


@pytest.mark.parametrize(("change", "message"), REFUSED.values(), ids=list(REFUSED))
def test_refuses_and_writes_nothing(tmp_path: Path, change: Change, message: str) -> None:
    write_folder(tmp_path / "set", change)
    error = run(tmp_path).exception
    assert isinstance(error, InputError)
    assert message in str(error)
    assert not (tmp_path / "out").exists()


def test_refuses_an_image_in_both_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    config = CONFIG.replace("root: ROOT", "root: ROOT, test_images: train")
    error = run(tmp_path, config=config).exception
    assert isinstance(error, InputError)
    assert "train/1.png is train/1.png" in str(error)
    assert not (tmp_path / "out").exists()


def test_refuses_a_budget_above_the_pool(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    error = run(tmp_path, config=CONFIG.replace("budget: 1", "budget: 3")).exception
    assert isinstance(error, InputError)
    assert "but there are 3 training images" in str(error)
    assert not (tmp_path / "out").exists()


def test_a_budget_in_boxes_is_said_in_images_and_refused_where_there_are_fewer(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    boxes = "budget: {unit: boxes, amount: 2}"
    done = run(tmp_path, config=CONFIG.replace("budget: 1", boxes))
    # Three images, one of them empty, of a box each.
    assert "a cycle's 2 boxes pay for about 2 images" in done.stderr
    shutil.rmtree(tmp_path / "out")
    error = run(tmp_path, config=CONFIG.replace("budget: 1", boxes.replace("2", "3"))).exception
    assert isinstance(error, InputError)
    assert "1 cycles of 3 boxes are 3, but beside the 1 initial images of seed 0 there are 2" in str(error)
    error = run(tmp_path, config=CONFIG.replace("budget: 1", boxes).replace("initial: 1", "initial: 3")).exception
    assert "so none is left to choose; lower initial" in str(error)
    assert not (tmp_path / "out").exists()


def test_without_a_file_to_write_it_looks_only(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    config = tmp_path / "config.yaml"
    config.write_text(CONFIG.replace("ROOT", str(tmp_path / "set")).replace("STRICT", "false"))
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(mgral, ["data", "--config", str(config)])
    assert result.exit_code == 0, result.output
    assert "input size" in result.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_command_line_exits_2_and_names_the_missing_folder(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("{data: {format: voc, root: nowhere}}")
    arguments = ["data", "--config", str(config), "--train", "train.json", "--test", "test.json"]
    done = subprocess.run(
        [sys.executable, "-c", "from mgral.cli.main import main; main()", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("mgral: nowhere: no such data folder; correct `data.root`")
    assert list(tmp_path.iterdir()) == [config]


@pytest.mark.parametrize(("pool", "images"), [("all", [1, 2, 3, 7]), ("with_boxes", [1, 3])])
def test_which_training_images_make_the_pool(tmp_path: Path, pool: str, images: list[int]) -> None:
    """Image 2 has no box, and 7 only a crowd and a box without area; ids have a gap."""

    def change(train: dict[str, Any], test: dict[str, Any]) -> None:
        train["images"].append({"id": 7, "file_name": "7.png", "width": 20, "height": 10})
        (tmp_path / "set" / "train" / "7.png").touch()
        train["annotations"] += [
            annotation(20, 7, 0, [0, 0, 5, 5]) | {"iscrowd": 1},
            annotation(21, 7, 0, [0, 0, 0, 5]),
        ]
        test["images"].append({"id": 8, "file_name": "8.png", "width": 20, "height": 10})
        (tmp_path / "set" / "test" / "8.png").touch()

    write_folder(tmp_path / "set", change)
    run(tmp_path, config=CONFIG.replace("root: ROOT", f"root: ROOT, pool: {pool}"))
    train, test = (json.loads((tmp_path / "out" / f"{split}.json").read_text()) for split in ("train", "test"))
    assert [image["id"] for image in train["images"]] == images
    assert {a["image_id"] for a in train["annotations"]} <= set(images)
    assert [image["id"] for image in test["images"]] == [1, 8]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(-5, 30)] * 2, *[st.integers(0, 30)] * 2), max_size=6))
def test_boxes_end_up_inside_their_images(tmp_path_factory: pytest.TempPathFactory, boxes: list[Any]) -> None:
    root = tmp_path_factory.getbasetemp() / "inside"
    train, test = coco_files()
    for split, coco in (("train", train), ("test", test)):
        for image in coco["images"]:
            image["file_name"] = f"{split}{image['id']}"
            (root / image["file_name"]).parent.mkdir(exist_ok=True)
            (root / image["file_name"]).touch()
    train["annotations"] += [annotation(10 + n, 2, 0, list(box)) for n, box in enumerate(boxes)]
    data = CocoData(format="coco", root=str(root))
    findings = Findings()
    splits = (Split(f"{name}.json", Coco(**coco)) for name, coco in (("train", train), ("test", test)))
    kept = check_splits(*splits, root, data, findings).train["annotations"]
    for entry in kept:
        x, y, width, height = entry["bbox"]
        assert 0 <= x < x + width <= 20
        assert 0 <= y < y + height <= 10
    counts = {kind.title: len(places) for kind, places in findings.repairs.items()}
    lost = (
        "boxes have no area",
        "boxes lie outside of their image",
        "boxes are there twice, of one class in one image",
    )
    assert len(kept) + sum(counts.get(kind, 0) for kind in lost) == len(train["annotations"])


def many_faults(train: dict[str, Any], test: dict[str, Any]) -> None:
    train["images"] += [{"id": n, "file_name": f"gone{n}.png", "width": 20, "height": 10} for n in range(10, 17)]
    train["annotations"].append(annotation(9, 3, 4, [1, 2]))
    train["categories"].append({"id": 9})
    test["annotations"].append({**annotation(2, 1, 0, [2, 2, 3, 3]), "iscrowd": "x"})


def test_everything_is_found_at_once_and_listed(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", many_faults)
    result = run(tmp_path, "--json")
    message = str(result.exception)
    assert "10 faults of 4 kinds; nothing is written" in message
    assert "Images are not on disk (7): add them" in message
    assert message.count("/gone") == 5
    assert "and 2 more (--json lists all)" in message
    listed = {one["kind"]: one for one in json.loads(result.stdout)["faults"]}
    assert [len(one["places"]) for one in listed.values()] == [one["count"] for one in listed.values()]
    assert sorted(one["count"] for one in listed.values()) == [1, 1, 1, 7]
    assert not (tmp_path / "out").exists()


def written(folder: Path, split: str = "train") -> Any:
    return json.loads((folder / "out" / f"{split}.json").read_text())
