"""Projects whose files, settings or names are at fault: it is named, nothing is lost, and the way on is open."""

import json
import shutil

import photo_project
import pytest
import yaml
from photo_project import LEDGER, SETTINGS, answered, coco_labels, photos, refused, run, set_key, start

from mgral.artefacts import files
from mgral.artefacts.files import read_json
from mgral.errors import StepError
from mgral.labelling import running
from mgral.labelling.state import load_project


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


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
