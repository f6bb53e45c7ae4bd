"""The step `data`: what is odd and used, with a count, and classes, copies and images without labels."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage
from test_data import CONFIG, annotation, run, write_folder, written


def test_repairs_are_counted_and_written(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", lambda a, b: a["categories"].append({"id": 9, "name": "insects"}))
    result = run(tmp_path, "--repairs", str(tmp_path / "out" / "repairs.json"))
    assert "Listed classes have no box in either split (1)" in result.stderr
    repairs = {one["kind"]: one["places"] for one in json.loads((tmp_path / "out" / "repairs.json").read_text())}
    assert repairs["listed classes have no box in either split"] == ["'insects' (id 9)"]
    assert [c["name"] for c in written(tmp_path)["categories"]] == ["ant", "bee"]


def test_an_unused_class_may_have_the_name_of_a_used_one(tmp_path: Path) -> None:
    def change(train: dict[str, Any], test: dict[str, Any]) -> None:
        for coco in (train, test):
            coco["categories"].append({"id": 9, "name": "ant"})

    write_folder(tmp_path / "set", change)
    assert run(tmp_path).exit_code == 0
    assert written(tmp_path)["categories"] == [{"id": 0, "name": "ant"}, {"id": 4, "name": "bee"}]


def test_classes_that_differ_by_capitals_only_are_named(tmp_path: Path) -> None:
    def change(train: dict[str, Any], test: dict[str, Any]) -> None:
        for coco in (train, test):
            coco["categories"][0]["name"] = "Ant"

    write_folder(tmp_path / "set", change)
    result = run(tmp_path)
    assert result.exit_code == 0
    assert "Classes have names that differ by capitals only (1)" in result.stderr
    assert "\n    'Ant', 'ant'\n" in result.stderr
    assert [c["name"] for c in written(tmp_path)["categories"]] == ["ant", "Ant"]


def test_the_test_file_may_list_fewer_classes(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", lambda a, b: b["categories"].pop(0))
    assert run(tmp_path).exit_code == 0
    assert written(tmp_path, "test")["categories"] == written(tmp_path)["categories"]


@pytest.mark.parametrize(("classes", "names", "boxes"), [("[ant]", ["ant"], 1), ("[ant, fly]", ["ant", "fly"], 1)])
def test_declared_classes_are_kept_and_others_left_out(
    tmp_path: Path, classes: str, names: list[str], boxes: int
) -> None:
    write_folder(tmp_path / "set", lambda a, b: a["categories"].append({"id": 9, "name": "fly"}))
    result = run(tmp_path, config=CONFIG.replace("root: ROOT", f"root: ROOT, classes: {classes}"))
    assert result.exit_code == 0, result.exception
    assert "'bee' (id 4): 1 boxes" in result.stderr
    assert [c["name"] for c in written(tmp_path)["categories"]] == names
    assert len(written(tmp_path)["annotations"]) == boxes


def test_a_declared_class_that_no_file_lists_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    error = run(tmp_path, config=CONFIG.replace("root: ROOT", "root: ROOT, classes: [ant, bea]")).exception
    assert "not in the annotation files (1)" in str(error)


@pytest.mark.parametrize(("unlabelled", "images"), [("background", [1, 2, 3]), ("leave_out", [1, 3])])
def test_images_without_annotation(tmp_path: Path, unlabelled: str, images: list[int]) -> None:
    write_folder(tmp_path / "set")
    result = run(tmp_path, config=CONFIG.replace("root: ROOT", f"root: ROOT, unlabelled: {unlabelled}"))
    assert [image["id"] for image in written(tmp_path)["images"]] == images
    assert "train/2.png (of " in result.stderr


@pytest.mark.parametrize("name", ["1.png", "other.png"])
@pytest.mark.parametrize("copies", ["refuse", "leave_out"])
def test_copies_between_the_splits_are_found_by_content(tmp_path: Path, name: str, copies: str) -> None:
    write_folder(tmp_path / "set", lambda a, b: b["images"][0].update(file_name=name))
    for path in ("train/1.png", f"test/{name}"):
        (tmp_path / "set" / path).write_bytes(b"the same")
    (tmp_path / "set/train/2.png").write_bytes(b"another!")
    # Without the copy no image to train on has an ant, which is no fault of its own where copies are refused.
    more = "" if copies == "refuse" else ", classes: [bee, ant]"
    result = run(tmp_path, config=CONFIG.replace("root: ROOT", f"root: ROOT, copies: {copies}{more}"))
    if copies == "refuse":
        assert "1 fault of 1 kind" in str(result.exception)
        assert f"train/1.png is test/{name}" in str(result.exception)
        assert not (tmp_path / "out").exists()
    else:
        assert "Training images are test images too (1): left out" in result.stderr
        assert [image["id"] for image in written(tmp_path)["images"]] == [2, 3]


def test_equal_names_in_two_folders_are_no_copies(tmp_path: Path) -> None:
    write_folder(tmp_path / "set")
    (tmp_path / "set/train/1.png").write_bytes(b"one")
    (tmp_path / "set/test/1.png").write_bytes(b"two")
    assert run(tmp_path).exit_code == 0


def test_folders_named_like_pictures_are_missing_pictures(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    for split in ("train", "test"):
        (root / split / "1.png").unlink()
        (root / split / "1.png").mkdir()
    assert "Images are not on disk (2)" in str(run(tmp_path).exception)


def test_files_that_may_not_be_read_are_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_folder(tmp_path / "set")
    for name in ("train/1.png", "test/1.png"):
        (root / name).write_bytes(b"the same")
    opened = Path.open

    def refused(path: Path, *given: Any, **more: Any) -> Any:
        if path.suffix == ".png":
            raise PermissionError(13, "Permission denied")
        return opened(path, *given, **more)

    monkeypatch.setattr(Path, "open", refused)
    assert run(tmp_path).exit_code == 0


def test_a_missing_size_is_read_from_the_picture(tmp_path: Path) -> None:
    def change(train: dict[str, Any], test: dict[str, Any]) -> None:
        del train["images"][0]["width"]
        train["images"][1].update(width=0, height=0)

    root = write_folder(tmp_path / "set", change)
    for number in (3, 1):
        PillowImage.new("RGB", (20, 10)).save(root / f"train/{number}.png")
    result = run(tmp_path)
    assert "no size in the annotations (2)" in result.stderr
    assert {(image["width"], image["height"]) for image in written(tmp_path)["images"]} == {(20, 10)}
    (root / "train/1.png").write_bytes(b"no picture")
    assert "Pictures cannot be read (1)" in str(run(tmp_path).exception)


def test_boxes_given_as_corners_are_pointed_out(tmp_path: Path) -> None:
    def change(train: dict[str, Any], test: dict[str, Any]) -> None:
        for entry in train["annotations"]:
            entry["bbox"] = [9, 5, 19, 9]

    write_folder(tmp_path / "set", change)
    assert "often corners were given as width and height" in run(tmp_path).stderr


def test_a_link_out_of_the_data_folder_is_a_picture_like_others(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "set")
    (tmp_path / "elsewhere.png").touch()
    (root / "train/1.png").unlink()
    (root / "train/1.png").symlink_to(tmp_path / "elsewhere.png")
    assert run(tmp_path).exit_code == 0
    (tmp_path / "elsewhere.png").unlink()
    assert "Images are not on disk (1)" in str(run(tmp_path).exception)


def test_equal_boxes_are_used_once(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", lambda a, b: a["annotations"].append(annotation(8, 3, 4, [1, 1, 5, 5.0])))
    assert "Boxes are there twice, of one class in one image (1)" in run(tmp_path).stderr
    assert len(written(tmp_path)["annotations"]) == 2


def test_some_fractions_among_pixels_are_left_out_and_counted(tmp_path: Path) -> None:
    def change(train: dict[str, Any], test: dict[str, Any]) -> None:
        train["annotations"] += [annotation(10 + n, 2, 0, [n / 10, 0, 5, 5]) for n in range(20)]
        train["annotations"].append(annotation(50, 2, 0, [0.1, 0.2, 0.5, 0.5]))

    write_folder(tmp_path / "set", change)
    assert "Boxes lie within the first pixel (1)" in run(tmp_path).stderr
    assert len(written(tmp_path)["annotations"]) == 22


def test_what_boxes_lack_is_not_told_where_faulty_ones_are_missing(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", lambda a, b: b["annotations"][0].update(iscrowd="x"))
    assert "1 fault of 1 kind" in str(run(tmp_path).exception)


def test_a_name_too_long_for_a_file_is_a_missing_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "set", lambda a, b: a["images"][0].update(file_name="x" * 300))
    assert "Images are not on disk (1)" in str(run(tmp_path).exception)
