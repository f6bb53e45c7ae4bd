"""Projects whose files, settings or names are at fault: it is named, nothing is lost, and the way on is open."""

import json
import os
import re
import shutil

import numpy as np
import photo_project
import pytest
import yaml
from photo_project import answered, coco_labels, photos, run, start
from PIL import Image

from mgral.artefacts import files
from mgral.artefacts.files import read_json
from mgral.errors import StepError
from mgral.labelling import running
from mgral.labelling.state import load_project

LEDGER, SETTINGS = "ledger.jsonl", "project.yaml"


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def set_key(project, /, **values):
    path = project / SETTINGS
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | values))


def refused(project, *words):
    """Run a command that is to be refused, and check that the ledger stays."""
    before = (project / LEDGER).read_bytes()
    said = run(*words, "--folder", project, fails=2)
    assert (project / LEDGER).read_bytes() == before
    return said


def test_init_never_takes_the_place_of_a_ledger(tmp_path):
    project = start(tmp_path)
    (project / SETTINGS).unlink()
    before = (project / LEDGER).read_bytes()
    said = run("init", project, "--pictures", tmp_path / "photos", "--classes", "car", "--budget", 20, fails=2)
    assert "bring that back" in said
    assert (project / LEDGER).read_bytes() == before


def test_init_on_a_full_disk_leaves_nothing_in_the_way_of_the_next(tmp_path, monkeypatch):
    def full(path, *_):
        raise StepError(f"{path} cannot be written")

    monkeypatch.setattr("mgral.labelling.starting.write_project_settings", full)
    words = "init", tmp_path / "mine", "--pictures", photos(tmp_path / "photos", 8), "--classes", "a", "--budget", 8
    run(*words, fails=1)
    assert not list((tmp_path / "mine").iterdir())
    monkeypatch.undo()
    run(*words)


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


@pytest.mark.parametrize("names", ["car\nx", "CAR", "\udcff", "x,x", "x,"])
def test_names_of_classes_that_tools_would_stumble_over_are_refused(tmp_path, names):
    project = start(tmp_path)
    refused(project, "classes", "add", *names.split(","))
    run("classes", "rename", "car", "Car", "--folder", project)


def test_commas_separate_names_of_classes_and_may_be_in_those_of_labels(tmp_path):
    project = start(tmp_path)
    assert "classes: car, dog, cat, cow, hen\n" in run("classes", "add", "cat, cow", "hen", "--folder", project)
    file = coco_labels(tmp_path / "a.json", {"p1.png": [(2, 3, 20, 10, "a, b")]})
    words = "init", tmp_path / "other", "--pictures", tmp_path / "photos", "--labels", file, "--budget", 20
    assert "  a, b  " in run(*words)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"strategy": "none"}, "project.yaml.*none"),
        ({"settings": {"detektor": {}}, "video_names": "a"}, "detektor"),
        ({"settings": {"near_copies": 3}, "video_names": "a"}, "near_copies"),
        ({"video_names": "("}, "video_names"),
        ({"test_pictures": {"photos": "../photos"}}, "photos is in both"),
        ({"budget": {"unit": "boxes", "amount": 90}}, "budget: a project counts pictures"),
        ({"audit": 25}, "lower `audit`"),
        ({"audit": 20}, "lower `audit`"),
    ],
)
def test_settings_that_are_wrong_change_nothing_and_can_be_mended(tmp_path, values, words):
    project = start(tmp_path)
    before = yaml.safe_load((project / SETTINGS).read_text())
    set_key(project, **values)
    said = refused(project, "next")
    assert words.split(".*")[-1] in said
    assert SETTINGS in said
    set_key(project, **(before | {"audit": 2}))
    run("next", "--folder", project)
    assert sum(one.role == "audit" for one in load_project(project).images.values()) == 2


def test_all_settings_that_are_wrong_are_named_at_once_with_what_to_do(tmp_path):
    project = start(tmp_path)
    faulty = {"detector": {"name": "small_ssd", "widht": 64}}
    set_key(project, version=2, batch=0, foo=1, strategy="nope", video_names="(", settings=faulty)
    said = refused(project, "next").splitlines()
    assert "is not valid:" in said[0]
    assert len(said) == 7
    for line, (start_of, advice) in zip(
        said[1:],
        [
            ("version: this mgral reads version 1", "set it"),
            ("batch: ", "found 0; correct the value"),
            ("video_names: it is no regular expression", "correct it"),
            ("foo: unknown key", "docs/project-settings.md lists all"),
            ("detector.widht: unknown key", "remove it or correct it"),
            ("strategy: there is no strategy 'nope'", "choose from"),
        ],
        strict=True,
    ):
        assert line.strip().startswith(start_of), line
        assert advice in line
    words = "init", tmp_path / "other", "--pictures", tmp_path / "photos", "--budget", 20
    said = run(*words, "--strategy", "nope", "--video-names", "(", fails=2)
    assert "no strategy 'nope'" in said
    assert "video_names: it is no regular expression" in said


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


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [],
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [*lines, lines[0]],
        lambda lines: [*lines, lines[1]],
        lambda lines: [*lines, json.dumps({**json.loads(lines[1]), "what": "other"}) + "\n"],
        lambda lines: [*lines, json.dumps({**json.loads(lines[1]), "events": {"a": 1}}) + "\n"],
    ],
)
def test_lines_of_a_ledger_that_do_not_fit_are_named(tmp_path, spoil):
    project = start(tmp_path)
    run("next", "--folder", project)
    path = project / LEDGER
    path.write_text("".join(spoil(path.read_text().splitlines(keepends=True))))
    assert LEDGER in refused(project, "status")
    assert LEDGER in refused(project, "next")


def test_a_round_of_which_nothing_is_left_is_done_and_the_next_can_follow(tmp_path, monkeypatch):
    project = start(tmp_path)
    file = coco_labels(tmp_path / "all.json", {f"p{one}.png": [(2, 3, 20, 10, "car")] for one in range(1, 28)})

    def labelled_meanwhile(*given, **more):
        photo_project.compute(*given, **more)
        run("import", file, "--folder", project)

    set_key(project, audit=0, budget=40)
    monkeypatch.setattr(running, "run_snakemake", labelled_meanwhile)
    said = run("next", "--folder", project, "--format", "coco")
    assert "round 1: 0 pictures" in said
    assert "none of them is left" in said
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    run("next", "--folder", project)
    assert max(load_project(project).sent) == 2


@pytest.mark.parametrize("content", ["nothing", "other"])
def test_a_folder_in_the_place_of_the_next_round_is_left_alone(tmp_path, content):
    project = start(tmp_path)
    place = project / "round1"
    if content == "nothing":
        place.mkdir()
    else:
        run("next", "--folder", start(tmp_path / "other"))
        shutil.copytree(tmp_path / "other" / "mine" / "round1", place)
    assert "move it away" in refused(project, "next")
    place.rename(tmp_path / "away")
    run("next", "--folder", project)


def test_commands_leave_nothing_where_there_is_no_project(tmp_path):
    for words in (["next"], ["scan"], ["recall", "a"], ["classes", "add", "x"], ["again", tmp_path / "x"]):
        run(*words, "--folder", tmp_path, fails=2)
    assert not list(tmp_path.iterdir())


def test_exports_name_missing_pictures_and_what_keeps_labels_back(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project)
    run("import", answered(project, 1), "--folder", project)
    gone = tmp_path / "photos" / "p1.png"
    gone.rename(tmp_path / "photos" / "q.png")
    words = "export", tmp_path / "set", "--folder", project, "--format", "coco"
    said = run(*words, fails=2)
    assert "p1.png" in said
    assert "mgral project scan" in said
    run("scan", "--folder", project)
    run(*words)
    shutil.rmtree(tmp_path / "set")
    set_key(project, pictures={"elsewhere": str(tmp_path / "photos")})
    assert "no folder of pictures 'photos'" in run(*words, fails=2)
    run("classes", "add", "bus", "--folder", project)
    assert "must be checked again" in run(*words, fails=2)


def test_names_too_long_for_a_disk_are_shortened(tmp_path):
    pictures = photos(tmp_path / "photos", 2, first=50)
    for number, name in enumerate(("a", "b"), 50):
        (pictures / name).mkdir()
        (pictures / f"p{number}.png").rename(pictures / name / ("x" * 246 + ".png"))
    project = start(tmp_path, count=2, batch=4)
    set_key(project, audit=0)
    run("next", "--folder", project)
    sent = {one.name for one in (project / "round1" / "pictures").iterdir()}
    assert len(sent) == 4
    assert max(map(len, sent)) < 220


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


def test_a_round_that_cannot_be_recalled_asks_what_is_meant(tmp_path):
    project = start(tmp_path)
    assert "--round" in refused(project, "recall")


def test_damaged_scores_are_named_by_status(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project)
    run("import", answered(project, 1), "--folder", project)
    run("next", "--folder", project)
    metrics = project / "results" / "round2" / "seed2" / "initial" / "cycle0" / "metrics.json"
    whole = read_json(metrics)
    by_class = [{"name": "dog", "map": "0.3"}]
    for scores in (
        {},
        "text",
        [],
        {**whole, "map": "0.3"},
        {**whole, "per_class": by_class},
        {**whole, "per_class": 1},
    ):
        metrics.write_text(json.dumps(scores))
        files.WRITTEN.clear()
        said = refused(project, "status")
        assert str(metrics) in said
        assert "make it again: mgral snakemake --cores all --configfile round2/config.yaml" in said
    metrics.write_text("no JSON")
    assert f"{metrics} is not JSON" in refused(project, "status")


def test_status_names_pictures_on_which_people_disagree(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project)
    run("import", answered(project, 1, by=1), "--folder", project)
    assert "disagree" not in run("status", "--folder", project)
    run("import", answered(project, 1, by=2, boxes=[(30.0, 20.0, 9.0, 9.0, "dog")]), "--folder", project)
    assert "people disagree on 8 pictures, and the latest is used: photos/p1.png" in run(
        "status", "--folder", project
    )
    set_key(project, conflicts="leave_out")
    assert "nobody's labels are used" in run("status", "--folder", project)


def test_a_class_that_came_between_two_looks_is_no_disagreement(tmp_path):
    project, old, new = start(tmp_path), (30.0, 20.0, 9.0, 9.0, "dog"), (5.0, 5.0, 9.0, 9.0, "cow")
    run("next", "--folder", project)
    run("import", answered(project, 1, by=1, boxes=[old], later=-100), "--folder", project)
    run("classes", "add", "cow", "--folder", project)
    said = run("import", answered(project, 1, by=2, boxes=[old, new], later=100), "--folder", project)
    assert "differently" not in said
    assert "disagree" not in run("status", "--folder", project)
    run("import", answered(project, 1, by=2, boxes=[new], later=200), "--folder", project)
    assert "people disagree on 8 pictures" in run("status", "--folder", project)


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
