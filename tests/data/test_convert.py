"""Data sets in another format: the same pictures and boxes, and what is lost is counted."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mgral.cli.main import mgral
from mgral.config import DiskData, resolve_config
from mgral.data.convert import FORMATS as KNOWN_FORMATS
from mgral.data.convert import Conversion, convert
from mgral.data.paths import PICTURES
from mgral.data.read import read_splits
from mgral.data.records import Coco
from mgral.errors import InputError

WIDTH, HEIGHT = 200, 150
FORMATS = ("coco", "voc", "yolo")
Box = tuple[float, float, float, float]


def write_picture(path: Path, shade: int, orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("L", (WIDTH, HEIGHT), shade).save(path, exif=exif)


def annotation(number: int, image: int, category: int, box: Box, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": list(box), "iscrowd": 0, **more}


def write_coco_set(root: Path, *more: dict[str, Any]) -> Path:
    """Write three pictures in training, one of which shows nothing, and one in the test images."""
    names = {"train": {5: "b.png", 7: "sub/a.png", 9: "empty.png"}, "test": {2: "c.png"}}
    boxes = {
        "train": [annotation(3, 5, 4, (10.25, 20.5, 30.1, 40.3)), annotation(4, 7, 0, (0, 0, WIDTH, HEIGHT)), *more],
        "test": [annotation(8, 2, 4, (1, 2, 3.5, 4)), annotation(9, 2, 0, (7, 7, 7, 7))],
    }
    (root / "annotations").mkdir(parents=True)
    for split, images in names.items():
        for number, name in images.items():
            write_picture(root / split / name, number)
        content = {
            "images": [{"id": n, "file_name": name, "width": WIDTH, "height": HEIGHT} for n, name in images.items()],
            "annotations": boxes[split],
            "categories": [{"id": 0, "name": "zebra"}, {"id": 4, "name": "ant"}],
        }
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


def configured(root: Path, form: str = "coco", **more: object) -> DiskData:
    data = resolve_config({"data": {"format": form, "root": str(root), **more}}).data
    assert data.format != "synthetic"
    return data


def written(output: Path) -> DiskData:
    """Return the settings that the folder's own config.yaml has."""
    section = yaml.safe_load((output / "config.yaml").read_text())["data"]
    return configured(Path(section.pop("root")), section.pop("format"), **section)


def run(data: DiskData, form: Any, output: Path) -> Conversion:
    return convert(data, Path(data.root), form, output)


def read(data: DiskData) -> tuple[Coco, Coco]:
    checked = read_splits(data, Path(data.root))
    return checked.train, checked.test


def content(coco: Coco) -> dict[str, list[tuple[str, list[float], int]]]:
    """Return what each picture shows, by its name: classes, corners of boxes, crowds."""
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found: dict[int, list[tuple[str, list[float], int]]] = {image["id"]: [] for image in coco["images"]}
    for one in coco["annotations"]:
        x, y, width, height = one["bbox"]
        found[one["image_id"]].append((names[one["category_id"]], [x, y, x + width, y + height], one["iscrowd"]))
    return {Path(image["file_name"]).name: found[image["id"]] for image in coco["images"]}


def assert_same(found: Coco, expected: Coco, pixels: float) -> None:
    ours, theirs = content(found), content(expected)
    assert ours.keys() == theirs.keys()
    for name, boxes in theirs.items():
        assert [(label, crowd) for label, _, crowd in ours[name]] == [(label, crowd) for label, _, crowd in boxes]
        for (_, corners, _), (_, wanted, _) in zip(ours[name], boxes, strict=True):
            assert corners == pytest.approx(wanted, abs=pixels + 1e-9)


PRECISION = {"coco": 0.0, "voc": 0.5, "yolo": 0.01}


@pytest.mark.parametrize("back", FORMATS)
@pytest.mark.parametrize("form", FORMATS)
def test_boxes_and_pictures_are_the_same_in_every_format(tmp_path: Path, form: str, back: str) -> None:
    original = configured(write_coco_set(tmp_path / "set"))
    run(original, form, tmp_path / "there")
    run(written(tmp_path / "there"), back, tmp_path / "back")
    for output, pixels in (("there", PRECISION[form]), ("back", max(PRECISION[form], PRECISION[back]))):
        for found, expected in zip(read(written(tmp_path / output)), read(original), strict=True):
            assert_same(found, expected, pixels)
            assert sorted(category["name"] for category in found["categories"]) == ["ant", "zebra"]
            for image in found["images"]:
                name = Path(image["file_name"]).name
                [source] = (tmp_path / "set").rglob(name)
                assert (tmp_path / output / image["file_name"]).read_bytes() == source.read_bytes()


BOXES = st.builds(
    lambda x, y, w, h: tuple(
        round(value, 3) for value in (x * WIDTH, y * HEIGHT, w * (1 - x) * WIDTH, h * (1 - y) * HEIGHT)
    ),
    st.floats(0, 0.98),
    st.floats(0, 0.98),
    st.floats(0.001, 1),
    st.floats(0.001, 1),
).filter(lambda box: min(box[2:]) >= 1)  # smaller ones are taken for fractions, or lost in rounding


@pytest.mark.parametrize("form", ["voc", "yolo"])
@settings(max_examples=25, deadline=None)
@given(boxes=st.lists(BOXES, min_size=1, max_size=8, unique=True))
def test_any_box_comes_back(tmp_path_factory: pytest.TempPathFactory, form: str, boxes: list[Box]) -> None:
    folder = tmp_path_factory.mktemp("boxes")
    more = [annotation(10 + place, 9, 4, box) for place, box in enumerate(boxes)]
    original = configured(write_coco_set(folder / "set", *more))
    run(original, form, folder / "there")
    run(written(folder / "there"), "coco", folder / "back")
    for found, expected in zip(read(written(folder / "back")), read(original), strict=True):
        assert_same(found, expected, PRECISION[form])


def test_ids_of_coco_are_kept_in_coco(tmp_path: Path) -> None:
    original = configured(write_coco_set(tmp_path / "set"))
    assert run(original, "coco", tmp_path / "there").lost == {}
    train, _ = read(written(tmp_path / "there"))
    expected = read(original)[0]
    assert train["annotations"] == expected["annotations"]
    assert train["categories"] == expected["categories"]
    assert [image["id"] for image in train["images"]] == [5, 7, 9]


def test_ids_that_are_texts_are_written_as_they_were(tmp_path: Path) -> None:
    root = write_coco_set(tmp_path / "set")
    path = root / "annotations/instances_train.json"
    path.write_text(
        path.read_text().replace('"id": 5,', '"id": "five",').replace('"image_id": 5', '"image_id": "five"')
    )
    run(configured(root), "coco", tmp_path / "there")
    images = json.loads((tmp_path / "there/annotations/instances_train.json").read_text())["images"]
    assert {image["id"] for image in images} == {"five", 7, 9}


def test_what_a_format_cannot_carry_is_counted(tmp_path: Path) -> None:
    more = (
        annotation(20, 9, 4, (1, 1, 20, 20), iscrowd=1),
        annotation(21, 9, 4, (5, 5, 20, 20), area=77),
        annotation(22, 9, 4, (5, 5, 20, 20)),
    )
    data = configured(write_coco_set(tmp_path / "set", *more))
    mask = "boxes have an area of their own, as of a mask, which is left out"
    numbered = {"images are numbered anew": 4, "boxes are numbered anew": 6, mask: 1}
    assert run(data, "yolo", tmp_path / "yolo").lost == numbered | {
        "classes have another id": 1,
        "crowds, and difficult objects that do not count, are left out": 1,
    }
    assert run(data, "voc", tmp_path / "voc").lost == numbered | {
        "classes have another id": 2,
        "crowds are marked difficult": 1,
        "boxes are rounded to whole pixels": 2,
    }
    train, _ = read(written(tmp_path / "voc"))
    crowds = [one for one in train["annotations"] if one["iscrowd"]]
    assert [(one["bbox"], one["difficult"]) for one in crowds] == [([1, 1, 20, 20], 1)]


def test_difficult_objects_stay_so_in_voc(tmp_path: Path) -> None:
    more = (annotation(20, 9, 4, (1, 1, 20, 20), iscrowd=1),)
    run(configured(write_coco_set(tmp_path / "set", *more)), "voc", tmp_path / "voc")
    data = configured(tmp_path / "voc", "voc", train_difficult=True)
    assert run(data, "voc", tmp_path / "again").lost == {}
    assert content(read(written(tmp_path / "again"))[0]) == content(read(data)[0])
    lost = run(data, "coco", tmp_path / "coco").lost
    assert lost == {"objects lose their mark `difficult`; those that did not count are crowds": 1}


def unlabelled_set(tmp_path: Path) -> DiskData:
    run(configured(write_coco_set(tmp_path / "set")), "yolo", tmp_path / "yolo")
    write_picture(tmp_path / "yolo/images/train/new.png", 99)
    return written(tmp_path / "yolo")


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_pictures_without_labels_stay_without(tmp_path: Path, form: str) -> None:
    run(unlabelled_set(tmp_path), form, tmp_path / "there")
    data = written(tmp_path / "there")
    assert len(list((tmp_path / "there").rglob("new.png"))) == 1
    assert content(read(data)[0]).keys() == {"a.png", "b.png", "empty.png"}
    pool = read(data.model_copy(update={"unlabelled": "background"}))[0]
    assert content(pool).keys() == {"a.png", "b.png", "empty.png", "new.png"}


def test_coco_json_does_not_tell_empty_from_unlabelled(tmp_path: Path) -> None:
    data = unlabelled_set(tmp_path)
    lost = run(data, "coco", tmp_path / "there").lost
    assert lost == {"images without objects cannot be told from those without labels, and are left out too": 1}
    assert content(read(written(tmp_path / "there"))[0]).keys() == {"a.png", "b.png"}
    background = data.model_copy(update={"unlabelled": "background"})
    assert run(background, "coco", tmp_path / "background").lost == {}
    assert len(read(written(tmp_path / "background"))[0]["images"]) == 4


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("coco", {"train": {"a.png", "b.png", "empty.png"}, "test": {"b.jpg"}}),
        ("yolo", {"train": {"a.png", "b.png", "empty.png"}, "test": {"b.jpg"}}),
        ("voc", {"train": {"a.png", "train_b.png", "empty.png"}, "test": {"test_B.jpg"}}),
    ],
)
def test_pictures_of_the_same_name_get_another(tmp_path: Path, form: str, expected: Mapping[str, set[str]]) -> None:
    root = write_coco_set(tmp_path / "set")
    name = "B.jpg" if form == "voc" else "b.jpg"
    (root / "test/c.png").rename(root / "test" / name)
    path = root / "annotations/instances_test.json"
    path.write_text(path.read_text().replace("c.png", name))
    lost = run(configured(root), form, tmp_path / "there").lost
    assert lost.get("pictures have another name, as theirs is taken", 0) == 2 * (form == "voc")
    splits = dict(zip(("train", "test"), read(written(tmp_path / "there")), strict=True))
    assert {split: set(content(coco)) for split, coco in splits.items()} == expected


def test_names_that_differ_by_suffix_or_folder_only(tmp_path: Path) -> None:
    root = write_coco_set(tmp_path / "set")
    for old, new in (("sub/a.png", "sub/b.png"), ("empty.png", "b.jpg")):
        (root / "train" / old).rename(root / "train" / new)
        path = root / "annotations/instances_train.json"
        path.write_text(path.read_text().replace(old, new))
    run(configured(root), "yolo", tmp_path / "there")
    names = {path.name for path in (tmp_path / "there/images/train").iterdir()}
    assert names == {"train_b.png", "train_sub_b.png", "train_b_2.jpg"}
    assert len(list((tmp_path / "there/labels/train").iterdir())) == 3


def test_a_suffix_that_a_format_does_not_know_is_refused(tmp_path: Path) -> None:
    root = write_coco_set(tmp_path / "set")
    (root / "train/b.png").rename(root / "train/b")
    path = root / "annotations/instances_train.json"
    path.write_text(path.read_text().replace("b.png", "b"))
    with pytest.raises(InputError, match=r"1 picture has no suffix .* yolo knows, the first being train/b"):
        run(configured(root), "yolo", tmp_path / "there")
    assert not (tmp_path / "there").exists()
    run(configured(root), "coco", tmp_path / "there")


@pytest.mark.parametrize("form", FORMATS)
def test_orientations_are_applied_or_ignored_as_before(tmp_path: Path, form: str) -> None:
    root = write_coco_set(tmp_path / "set")
    write_picture(root / "train/b.png", 5, orientation=6)
    data = configured(root, exif="ignore")
    run(data, form, tmp_path / "there")
    for found, expected in zip(read(written(tmp_path / "there")), read(data), strict=True):
        assert_same(found, expected, PRECISION[form])


def test_declared_classes_go_along(tmp_path: Path) -> None:
    data = configured(write_coco_set(tmp_path / "set"), classes=["ant"])
    run(data, "yolo", tmp_path / "there")
    assert written(tmp_path / "there").classes == ("ant",)
    assert [category["name"] for category in read(written(tmp_path / "there"))[0]["categories"]] == ["ant"]


def test_pictures_are_links_where_possible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = configured(write_coco_set(tmp_path / "set"))
    source = tmp_path / "set/train/b.png"
    assert run(data, "yolo", tmp_path / "links").linked == 4
    assert (tmp_path / "links/images/train/b.png").samefile(source)

    def fail(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", fail)
    assert run(data, "yolo", tmp_path / "copies").linked == 0
    assert not (tmp_path / "copies/images/train/b.png").samefile(source)
    assert (tmp_path / "copies/images/train/b.png").read_bytes() == source.read_bytes()


def test_a_link_among_the_pictures_becomes_its_file(tmp_path: Path) -> None:
    data = configured(write_coco_set(tmp_path / "set"))
    picture = tmp_path / "set/train/b.png"
    picture.rename(tmp_path / "stored.png")
    picture.symlink_to("../../stored.png")
    run(data, "yolo", tmp_path / "there")
    assert not (tmp_path / "there/images/train/b.png").is_symlink()
    assert (tmp_path / "there/images/train/b.png").samefile(tmp_path / "stored.png")


def test_the_command(tmp_path: Path) -> None:
    root = write_coco_set(tmp_path / "set")
    config = tmp_path / "config.yaml"
    config.write_text(f"{{initial: 1, budget: 1, cycles: 1, data: {{format: coco, root: {root}}}}}")
    arguments = ["convert", "--config", str(config), "--to", "voc", "--output", str(tmp_path / "there")]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        f"{tmp_path}/there: 4 pictures, 4 hard links and 0 copies",
        "  4 images are numbered anew",
        "  4 boxes are numbered anew",
        "  2 classes have another id",
        "  2 boxes are rounded to whole pixels",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml", "set", "there"]
    listed = CliRunner().invoke(mgral, [*arguments[:-1], str(tmp_path / "listed"), "--json"], catch_exceptions=False)
    found = json.loads(listed.stdout)
    assert (found["pictures"], found["hard_links"], found["lost"]["classes have another id"]) == (4, 4, 2)
    assert [entry["count"] for entry in found["repairs"]] == [1]
    again = CliRunner().invoke(mgral, arguments)
    assert isinstance(again.exception, InputError)
    assert "exists already" in str(again.exception)


def test_a_failed_conversion_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ValueError("stopped")

    monkeypatch.setattr("mgral.data.convert._configuration", fail)
    with pytest.raises(ValueError, match="stopped"):
        run(configured(write_coco_set(tmp_path / "set")), "voc", tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


@pytest.mark.parametrize("name", ["big\nzebra", "big\u2028zebra", "big\x07zebra"])
def test_a_class_that_voc_cannot_name_is_refused_and_other_formats_keep_it(tmp_path: Path, name: str) -> None:
    root = write_coco_set(tmp_path / "set")
    for path in (root / "annotations").iterdir():
        path.write_text(path.read_text().replace('"zebra"', json.dumps(name)))
    with pytest.raises(InputError, match="has a line break or a control character in its name"):
        run(configured(root), "voc", tmp_path / "voc")
    assert not (tmp_path / "voc").exists()
    run(configured(root), "yolo", tmp_path / "yolo")
    converted = read_splits(configured(tmp_path / "yolo", "yolo"), tmp_path / "yolo")
    assert name in [category["name"] for category in converted.train["categories"]]


@pytest.mark.parametrize("to", FORMATS)
def test_each_format_takes_every_picture_that_a_project_takes(to):
    assert all(f"a{suffix}".endswith(KNOWN_FORMATS[to].suffixes) for suffix in PICTURES)
