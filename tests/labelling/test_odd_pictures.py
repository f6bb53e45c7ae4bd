"""Odd pictures in the folders of a project: none is lost without a line, and none is taken for another."""

import os
import re
import shutil

import numpy as np
import photo_project
import pytest
from photo_project import LEDGER, coco_labels, photos, refused, run, set_key, start
from PIL import Image

from mgral.labelling import running
from mgral.labelling.state import load_project


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def test_init_says_why_no_picture_can_be_used_and_what_is_not_valid(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_text("text")
    words = "init", tmp_path / "mine", "--pictures", tmp_path / "photos", "--budget", 8
    assert "a.jpg: it is no picture" in run(*words, fails=2)
    assert "project: String should match" in run(*words, "--name", "../x", fails=2)
    assert not (tmp_path / "mine").exists()


def test_pictures_that_are_all_of_the_test_set_are_refused_and_named(tmp_path):
    same = photos(tmp_path / "photos", 8)
    words = "init", tmp_path / "mine", "--pictures", same, "--classes", "a", "--budget", 8, "--test-pictures"
    for place in (same, shutil.copytree(same, tmp_path / "copies")):
        said = run(*words, place, fails=2)
        assert "those of --pictures are of the test set too" in said
        assert "Pictures of the test set lie among those to label, byte for byte (8)" in said
    assert not (tmp_path / "mine").exists()
    run(*words, photos(tmp_path / "test", 3, first=100))
    for path in same.iterdir():
        path.unlink()
    shutil.copy(tmp_path / "test" / "p100.png", same)
    run("scan", "--folder", tmp_path / "mine")
    assert "no picture left to choose: 3 of the audit or test set, 8 missing; put" in refused(
        tmp_path / "mine", "next"
    )


def test_grey_of_more_than_8_bits_is_left_out_until_a_person_says_how_to_scale_it(tmp_path):
    (tmp_path / "photos").mkdir()
    for number in range(2):
        grey = np.full((4, 6), 1000 + number, dtype=np.uint16)
        Image.fromarray(grey).save(tmp_path / "photos" / f"{number}.png")
    words = "init", tmp_path / "mine", "--pictures", tmp_path / "photos", "--classes", "car", "--budget", 8
    said = run(*words, fails=2)
    assert "Grey images have more than 8 bits a pixel (2): left out" in said
    assert "--deep-grey" in said
    run(*words, "--deep-grey", "own_range")
    assert len(load_project(tmp_path / "mine").pictures) == 2
    Image.new("L", (6, 4)).save(tmp_path / "photos" / "eight.png")
    run("init", tmp_path / "other", *words[2:])
    set_key(tmp_path / "other", deep_grey="full_range")
    assert "3 pictures, 2 new" in run("scan", "--folder", tmp_path / "other")


def test_pictures_of_too_many_pixels_are_left_out_until_the_project_allows_them(tmp_path):
    Image.new("L", (60, 40)).save(photos(tmp_path / "photos", 8) / "large.png")
    words = "--pictures", tmp_path / "photos", "--classes", "car", "--budget", 8
    said = run("init", tmp_path / "mine", *words, "--max-pixels", 2398)
    assert "Images have more pixels than `max_pixels` allows (1): left out of the project; set `max_pixels`" in said
    assert "8 pictures, 0 new" in run("scan", "--folder", tmp_path / "mine")
    set_key(tmp_path / "mine", max_pixels=2400)
    assert "9 pictures, 1 new" in run("scan", "--folder", tmp_path / "mine")


@pytest.mark.parametrize("older", [False, True])
def test_pictures_are_not_turned_anew_between_rounds(tmp_path, older):
    project = start(tmp_path)
    if older:
        ledger = (project / LEDGER).read_text()
        (project / LEDGER).write_text(re.sub(r', ?"exif": ?"apply"', "", ledger))
        assert not load_project(project).exif
    run("next", "--folder", project)
    set_key(project, exif="ignore")
    for command in (["next", "--anyway"], ["scan"]):
        assert "`exif` was apply" in refused(project, *command)


def test_a_project_of_pictures_as_stored_stays_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = photos(tmp_path / "photos", 3) / "turned.jpg"
    Image.new("RGB", (30, 10)).save(turned, exif=exif)
    words = "--pictures", tmp_path / "photos", "--classes", "car", "--budget", 4
    for way, other, size in (("ignore", "apply", (30, 10)), ("apply", "ignore", (10, 30))):
        project = tmp_path / way
        run("init", project, *words, "--exif", way)
        pictures = load_project(project).pictures.values()
        assert [(one.width, one.height) for one in pictures if one.file.endswith("jpg")] == [size]
        run("scan", "--folder", project)
        set_key(project, exif=other)
        said = refused(project, "scan")
        assert f"`exif` was {way} before" in said
        assert f"--exif {other}" in said


def test_pictures_in_the_folder_of_the_project_are_not_those_of_its_rounds(tmp_path):
    pictures = photos(tmp_path / "mine", 8)
    run("init", pictures, "--pictures", pictures, "--classes", "car", "--budget", 6, "--batch", 2)
    run("next", "--folder", pictures)
    next(pictures.glob("p*.png")).unlink()
    said = run("scan", "--folder", pictures)
    assert "8 pictures, 0 new, 1 missing" in said
    assert "copies" not in said


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_to_nothing_and_files_that_cannot_be_read_are_named(tmp_path, monkeypatch):
    pictures = photos(tmp_path / "photos", 6)
    (pictures / "broken.png").symlink_to("nowhere")
    (pictures / "self").symlink_to(".")
    project = start(tmp_path, count=6)
    assert "broken.png: No such file" in run("scan", "--folder", project)
    photos(pictures, 1, first=50)

    def failing(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", failing)
    said = refused(project, "scan")
    assert "p50.png: Input/output error" in said


@pytest.mark.parametrize("folder", ["", "train/"])
def test_labels_of_a_copy_are_of_the_picture_that_it_copies(tmp_path, folder):
    pictures = photos(tmp_path / "photos", 8)
    (pictures / "p1_copy.png").write_bytes((pictures / "p1.png").read_bytes())
    (pictures / "sub").mkdir()
    (pictures / "sub" / "p2.png").write_bytes((pictures / "p2.png").read_bytes())
    boxes = {"p1.png": (4, 4, 10, 10, "car"), "p1_copy.png": (4, 4, 10, 10, "car"), "sub/p2.png": (1, 1, 5, 5, "car")}
    labels = coco_labels(tmp_path / "a.json", {folder + name: [box] for name, box in boxes.items()})
    project = start(tmp_path, "--labels", labels, count=8, budget=8)
    known = load_project(project)
    assert known.copies == {"photos/p1_copy.png": 1, "photos/sub/p2.png": 2}
    assert {image: len(state.labels) for image, state in known.images.items() if state.labels} == {1: 1, 2: 1}
    before = (project / LEDGER).read_bytes()
    run("scan", "--folder", project)
    assert (project / LEDGER).read_bytes() == before


def test_a_copy_that_becomes_another_picture_has_labels_of_its_own(tmp_path):
    pictures = photos(tmp_path / "photos", 8)
    copy = pictures / "p1_copy.png"
    copy.write_bytes((pictures / "p1.png").read_bytes())
    project = start(tmp_path, count=8, budget=8)
    (photos(tmp_path / "other", 1, first=20) / "p20.png").replace(copy)
    run("scan", "--folder", project)
    labels = coco_labels(tmp_path / "a.json", {"p1_copy.png": [(1, 1, 5, 5, "car")]})
    run("import", labels, "--folder", project)
    known = load_project(project)
    assert not known.copies
    assert [image for image, state in known.images.items() if state.labels] == [9]
