"""A round of a project as a data set, and the pixels that its rounds share."""

import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from squares_project import CLASS, SIZE, SquaresProject

from mgral.artefacts.files import read_json, write_json
from mgral.config import PictureSettings, ProjectData
from mgral.config.canvas import Canvas
from mgral.data.cache import SplitFiles, cache_splits
from mgral.data.chunks import ChunkFiles, PixelSettings, SplitIndex, cache_chunk, index_splits, mark_folder
from mgral.data.dataset import as_dataset
from mgral.data.findings import FaultyDataError, Findings
from mgral.data.formats.project import INCOMPLETE, read_round
from mgral.data.formats.snapshot import load_snapshot
from mgral.data.images import load_images
from mgral.data.pictures import with_places

CANVAS = Canvas(SIZE, SIZE, "shrink")
DECODED = PixelSettings(SIZE, SIZE, "shrink", encoded=False, pictures=PictureSettings())
DATA = ProjectData(format="project", snapshot="round1/snapshot.json")


@pytest.fixture
def project(tmp_path, monkeypatch):
    made = SquaresProject.make(tmp_path)
    monkeypatch.chdir(made.folder)
    return made


def read(data=DATA):
    findings = Findings()
    return read_round(data, findings), findings


def ids(coco):
    return [image["id"] for image in coco["images"]]


def test_each_image_is_where_it_belongs(project):
    chunks = [project.add(5), project.add(4)]
    labelled, audit = [project.labelled(2), project.labelled(7)], [project.labelled(9)]
    project.open(1, chunks, labelled, audit, left_out=[3])
    found, findings = read()
    assert ids(found.train) == [1, 2, 4, 5, 6, 7, 8]
    assert ids(found.test) == [9]
    assert found.labelled == (2, 7)
    assert [box["image_id"] for box in found.train["annotations"]] == [2, 7]
    x, y = project.corner(7)
    assert found.train["annotations"][1]["bbox"] == [x, y, 12, 12]
    assert found.train["categories"] == [{"id": CLASS, "name": "square"}]
    assert found.train["images"][0]["file_name"] == "camera/1.png"
    assert findings.repairs == findings.faults == {}


def test_images_that_a_class_was_not_looked_for_in_are_in_no_part(project):
    chunk = project.add(6)
    part = [project.labelled(2, incomplete=(CLASS,)), project.labelled(3)]
    project.open(1, [chunk], part, [project.labelled(5, incomplete=(CLASS,))])
    found, findings = read()
    assert ids(found.train) == [1, 3, 4, 6]
    assert found.labelled == (3,)
    assert ids(found.test) == []
    assert findings.repairs == {INCOMPLETE: ["camera/2.png", "camera/5.png"]}


def test_a_snapshot_that_does_not_fit_its_pictures_is_refused(project):
    chunk = project.add(3)
    project.open(1, [chunk], [project.labelled(8)], left_out=[1, 2, 3])
    _, findings = read()
    titles = {kind.title for kind in findings.faults}
    assert "images of the snapshot are in none of its chunks" in titles
    assert "rounds have no image to learn from and none to choose" in titles


def made(project, chunks, settings=DECODED):
    """Make the pixels of chunks and the index of round 1, and return the images of both splits."""
    folder = project.folder / "results" / "pictures" / settings.folder
    for digest in chunks:
        cache_chunk(project.folder / "pictures" / f"{digest}.json", settings, ChunkFiles.of(folder, digest))
    found, _ = read()
    splits = [
        SplitIndex(as_dataset(coco), project.folder / f"{name}.json", project.folder / f"{name}.small.npy")
        for name, coco in (("train", found.train), ("test", found.test))
    ]
    index_splits(load_snapshot(project.folder / DATA.snapshot), project.folder / "pictures", folder, splits)
    return [load_images(one.output, one.dataset, CANVAS) for one in splits], splits


@pytest.mark.parametrize("encoded", [False, True])
def test_pixels_are_those_of_a_cache(project, encoded):
    chunks = [project.add(5), project.add(4)]
    project.open(1, chunks, [project.labelled(7)], [project.labelled(n) for n in (1, 9)], left_out=[3])
    (train, test), splits = made(project, chunks, DECODED._replace(encoded=encoded))
    coco = with_places(read()[0].train, project.folder)
    cache, small = project.folder / "plain.npy", project.folder / "plain.small.npy"
    cache_splits([SplitFiles("train", as_dataset(coco), cache, small)], project.folder, CANVAS, PictureSettings())
    plain = load_images(cache, as_dataset(coco), CANVAS)
    rows = np.array([5, 0, 3, 0])
    assert (train.read(rows) == plain.read(rows)).all()
    assert (pickle.loads(pickle.dumps(train)).read(rows) == plain.read(rows)).all()
    assert (np.load(splits[0].thumbnails) == np.load(small)).all()
    x, y = project.corner(9)
    assert test.image(1)[y, x].tolist() == [255, 255, 255]
    assert (train.image(0) != test.image(0)).any()


def test_an_empty_audit_set_has_an_index(project):
    chunk = project.add(3)
    project.open(1, [chunk])
    (train, test), splits = made(project, [chunk])
    assert (len(train), len(test)) == (3, 0)
    assert np.load(splits[1].thumbnails).shape == (0, 24, 24)


def test_renamed_pictures_are_found_and_lost_or_changed_ones_are_named(project):
    chunk = project.add(6)
    project.open(1, [chunk])
    (project.pictures / "deep").mkdir()
    (project.pictures / "2.png").rename(project.pictures / "deep" / "two.png")
    write_json(project.folder / "pictures" / "moved.json", {"2": "camera/deep/two.png"})
    made(project, [chunk])
    shutil.rmtree(project.folder / "results")
    (project.pictures / "1.png").unlink()
    (project.pictures / "4.png").unlink()
    Image.new("RGB", (SIZE, SIZE)).save(project.pictures / "5.png")
    with pytest.raises(FaultyDataError, match=r"3 faults of 2 kinds(.*\n)+.*mgral project scan") as error:
        made(project, [chunk])
    faults = {kind.title: places for kind, places in error.value.findings.faults.items()}
    assert [len(places) for places in faults.values()] == [2, 1]
    assert faults["pictures are not what they were when they were found"][0].endswith("5.png")
    assert not list((project.folder / "results").rglob("*.npy"))


def test_a_picture_that_is_gone_for_good_stops_only_rounds_that_need_it(project):
    chunk = project.add(4)
    project.open(1, [chunk], left_out=[2])
    (project.pictures / "2.png").unlink()
    write_json(project.folder / "pictures" / "moved.json", {"2": None})
    (train, _), _ = made(project, [chunk])
    assert len(train) == 3
    assert read_json(next((project.folder / "results").rglob(f"{chunk}.json"))) == {"gone": [2]}
    shutil.rmtree(project.folder / "round1")
    project.open(1, [chunk])
    with pytest.raises(FaultyDataError, match=r"camera/2\.png \(image 2"):
        made(project, [chunk])


def test_folders_differ_by_all_that_decides_about_pixels():
    other = PictureSettings(exif="ignore"), PictureSettings(deep_grey="own_range")
    changes = [
        {"width": 8},
        {"height": 8},
        {"placement": "fit"},
        {"encoded": True},
        *({"pictures": p} for p in other),
    ]
    folders = {DECODED.folder, *(DECODED._replace(**one).folder for one in changes)}
    assert len(folders) == 1 + len(changes)
    assert DECODED._replace(pictures=PictureSettings(max_pixels=5)).folder == DECODED.folder


def test_jobs_of_several_chunks_mark_their_folder_at_the_same_moment(tmp_path):
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _, folder=folder: mark_folder(folder, DECODED), range(8)))
        assert [path.name for path in folder.iterdir()] == ["canvas.json"]
        assert json.loads((folder / "canvas.json").read_text())["width"] == SIZE
