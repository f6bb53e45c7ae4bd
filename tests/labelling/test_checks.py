"""A check of labels by a project's commands: what it lists, what it sends, and what it says where it cannot be."""

import csv
import re
import shutil

import photo_project
import pytest
import yaml
from people import answer
from photo_project import answered, coco_labels, photos, run, start
from told_detectors import ToldDetectors

from mgral.artefacts.files import read_json
from mgral.errors import StepError
from mgral.labelling import running
from mgral.labelling.experiments import comparing
from mgral.labelling.experiments.comparing import cross_validated
from mgral.labelling.ledger import read_ledger, writing
from mgral.labelling.servers.interface import Share
from mgral.labelling.servers.label_studio_tasks import read_tasks
from mgral.labelling.state import load_project
from mgral.labelling.status import spent

NAMES = [f"p{number}.png" for number in range(1, 21)]
TRUE = {name: [(4.0, 5.0, 12.0, 10.0, "car"), (28.0, 20.0, 10.0, 10.0, "dog")] for name in NAMES}
CAR = TRUE["p1.png"][0]
WRONG = {
    **TRUE,
    "p3.png": TRUE["p3.png"][:1],
    "p7.png": [TRUE["p7.png"][0], (*TRUE["p7.png"][1][:4], "car")],
    "p11.png": [TRUE["p11.png"][0], (34.0, 20.0, 10.0, 10.0, "dog")],
    "p15.png": [*TRUE["p15.png"], (4.0, 24.0, 10.0, 10.0, "dog")],
}


@pytest.fixture
def detectors(monkeypatch):
    """Detectors that find what is true, whatever is labelled."""
    told = ToldDetectors(TRUE)
    monkeypatch.setattr(comparing, "run_snakemake", told)
    return told


@pytest.fixture
def project(tmp_path, detectors):
    """A project of 30 pictures, 20 of them labelled, four of these wrongly."""
    return start(tmp_path, "--labels", coco_labels(tmp_path / "labels.json", WRONG))


def check(project, *options, fails=0):
    return run("check", "--folder", project, "--format", "label_studio", *options, fails=fails)


def listed(project, number=1):
    with (project / f"check{number}" / "errors.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_planted_errors_are_listed_with_their_boxes_and_reasons(project):
    said = check(project)
    rows = {row["file"]: row for row in listed(project)}
    assert {name: row["kind"] for name, row in rows.items()} == {
        "photos/p3.png": "missing",
        "photos/p7.png": "class",
        "photos/p11.png": "place",
        "photos/p15.png": "not found",
    }
    missing = rows["photos/p3.png"]
    assert [float(missing[side]) for side in ("x", "y", "width", "height")] == [28, 20, 10, 10]
    assert (missing["class"], rows["photos/p7.png"]["class"]) == ("dog", "car")
    assert "labelled car, found as dog; 97% of what is found as clearly at a label has its class" in said  # 37 of 38
    for words in ("1  objects without a label", "1  labels of another class", "1  boxes that fit badly"):
        assert words in said
    page = (project / "check1" / "sheet.html").read_text()
    assert "<h1>4 pictures to look at again</h1>" in page
    assert "round 0" not in page
    assert page.count("look here 0.9") == 4
    assert 'aria-label="p1.png' not in page


def test_nothing_is_listed_of_labels_without_errors(tmp_path, detectors):
    project = start(tmp_path, "--labels", coco_labels(tmp_path / "labels.json", TRUE))
    said = check(project)
    assert "no label is likely to be wrong" in said
    assert "AP50 100.0 % (100.0 to 100.0), mAP 100.0 %" in said
    assert not listed(project)


def test_scores_are_of_all_labels_and_warn_of_chosen_pictures(project):
    said = check(project)
    scores = cross_validated(project)
    assert (scores["name"], scores["folds"], scores["audit"]) == ("check1", 5, None)
    assert (scores["held_out"]["images"], scores["held_out"]["boxes"]) == (20, 40)
    assert 0.5 < scores["held_out"]["map"]["low"] < scores["held_out"]["map"]["score"] < 1
    assert "on 20 labelled pictures, each by the detector without it" in said
    assert "no random sample" in said
    assert [one["name"] for one in scores["held_out"]["per_class"]] == ["car", "dog"]
    status = run("status", "--folder", project)
    assert "cross-validation (check1) on 20 labelled pictures, chosen and no random sample: AP50" in status


def test_each_detector_learns_all_but_one_part(project):
    check(project, "--folds", "4")
    snapshot = read_json(project / "check1" / "snapshot.json")
    assert sorted(image for fold in snapshot["without"] for image in fold) == [
        one["id"] for one in snapshot["labelled"]
    ]
    assert [len(fold) for fold in snapshot["without"]] == [5] * 4
    config = (project / "check1" / "config.yaml").read_text()
    assert "initial: 15" in config


def test_the_audit_set_is_checked_too_and_its_score_stands_first(tmp_path, detectors, monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    project = start(tmp_path, "--labels", coco_labels(tmp_path / "labels.json", TRUE))
    run("next", "--folder", project, "--format", "label_studio")
    cars = answered(project, 1, boxes=[CAR], state=lambda place: "done" if place < 4 else "untouched")
    run("import", cars, "--folder", project)  # of the audit set; no detector finds them
    said = check(project)
    audit = {number for number, one in load_project(project).images.items() if one.role == "audit"}
    assert len(audit) == 4
    assert said.index("on the audit set, which is a random sample") < said.index("labelled pictures, each by")
    assert {int(row["image"]) for row in listed(project)} >= audit
    assert cross_validated(project)["audit"]["map"]["score"] == 0


def test_the_same_labels_are_checked_once_and_other_ones_anew(project, tmp_path, detectors):
    first = check(project)
    assert check(project) == first
    assert detectors.runs == ["check1"]
    right = coco_labels(tmp_path / "right.json", {"p3.png": TRUE["p3.png"]})
    run("import", right, "--folder", project)
    said = check(project, "--last")
    assert "labels of 1 picture have changed since it was opened" in said
    assert {row["file"] for row in listed(project)} == {f"photos/p{number}.png" for number in (7, 11, 15)}
    assert "check2: 5 detectors" in check(project)
    assert len(listed(project, 2)) == 3
    assert detectors.runs == ["check1", "check2"]
    assert "check3: 2 detectors" in check(project, "--folds", "2")


def test_what_was_interrupted_goes_on_and_says_what_changed_meanwhile(project, tmp_path, detectors, monkeypatch):
    def killed(*_, **__):
        raise StepError("Snakemake was killed")

    monkeypatch.setattr(comparing, "run_snakemake", killed)
    check(project, fails=1)
    assert "no check is done yet" in check(project, "--last", fails=2)
    assert cross_validated(project) is None
    snapshot = (project / "check1" / "snapshot.json").read_bytes()
    right = coco_labels(tmp_path / "right.json", {"p3.png": TRUE["p3.png"], "p21.png": []})
    run("import", right, "--folder", project, "--empty", "checked")
    monkeypatch.setattr(comparing, "run_snakemake", detectors)
    assert "was begun with 5 folds and is not done" in check(project, "--folds", "3", fails=2)
    said = check(project)
    assert "labels of 1 picture have changed since it was opened" in said
    assert "p3.png" not in said
    assert (project / "check1" / "snapshot.json").read_bytes() == snapshot
    assert "check2: 5 detectors" in check(project)


def test_results_that_were_deleted_are_made_again(project, detectors):
    said = check(project)
    shutil.rmtree(project / "results")
    assert "is not complete any more; make it again: mgral project check" in check(project, "--last", fails=2)
    assert check(project) == said
    assert detectors.runs == ["check1", "check1"]


def test_only_labelled_pictures_are_read(project):
    """New pictures of the pool are no reason for another check."""
    check(project)
    snapshot = read_json(project / "check1" / "snapshot.json")
    assert len(snapshot["left_out"]) == 10  # of the only list of pictures
    photos(project.parent / "photos", 5, first=500)
    assert "check1: 5 detectors" in check(project)


def test_a_command_that_looks_at_nothing_else_is_refused(project):
    path = project / "project.yaml"
    detector = {"name": "external", "command": "run {train} {test} {output}", "gives": []}
    settings = yaml.safe_load(path.read_text()) | {"settings": {"detector": detector}, "strategy": "random"}
    path.write_text(yaml.safe_dump(settings))
    said = check(project, fails=2)
    assert "writes probabilities; add them to detector.gives" in said


def test_the_list_goes_out_as_tasks_and_what_comes_back_corrects_labels(project, tmp_path):
    check(project)
    before = spent(load_project(project))
    said = check(project, "--last", "--output", tmp_path / "look", "--most", "3")
    assert "3 pictures to check again" in said
    tasks = read_json(tmp_path / "look" / "tasks" / "label_studio" / "label_studio.json")
    reasons = {task["data"]["image"].rpartition("/")[2]: task["data"]["mgral_reason"] for task in tasks}
    assert len(reasons) == 3
    assert set(reasons) < {"p3.png", "p7.png", "p11.png", "p15.png"}
    assert reasons["p7.png"].startswith("labelled car, found as dog")
    boxes = {task["data"]["image"].rpartition("/")[2]: task["predictions"][0]["result"] for task in tasks}
    assert len(boxes["p7.png"]) == 2  # what is labelled, and nothing that was found
    share = Share(tmp_path / "look", 0, "", "mine", load_project(project))
    assert len(read_tasks(share)[0]) == 3  # as `mgral project push` sends them
    assert "project import FILE" in said
    with writing(project) as writer:
        writer.add("pushed", [{"tool": "label_studio", "url": "http://host", "person": "", "id": "1", "round": 0}])
    said = check(project, "--last", "--output", tmp_path / "it s")
    assert f"mgral project push '{tmp_path / 'it s'}'" in said
    assert "when people have labelled: mgral project pull" in said
    assert [line.what for line in read_ledger(project)][-1] == "sent"
    assert spent(load_project(project)) == before  # a second look uses no budget
    labels = {one: load_project(project).images[one].confirmed for one in (3, 7)}
    assert all(labels.values())  # and nothing has changed
    run("import", coco_labels(tmp_path / "back.json", {"p3.png": TRUE["p3.png"]}), "--folder", project)
    image = next(n for n, file in load_project(project).files.items() if file.endswith("/p3.png"))
    assert len(load_project(project).images[image].confirmed.boxes) == 2


def test_pictures_that_people_disagree_on_stand_first(project, tmp_path):
    tasks = tmp_path / "again"
    check(project)
    check(project, "--last", "--output", tasks)
    export = tmp_path / "answers.json"
    path = tasks / "tasks" / "label_studio" / "label_studio.json"
    stems = {task["data"]["image"].rpartition("/")[2].removesuffix(".png") for task in read_json(path)}
    sizes = dict.fromkeys(stems, photo_project.SIZE)
    for by, boxes in ((1, [(4.0, 5.0, 12.0, 10.0, "car")]), (2, [])):
        answer(path, export, dict.fromkeys(stems, boxes), sizes, by=by, later=by)
        run("import", export, "--folder", project)
    check(project)
    first = listed(project, 2)[0]
    assert (first["kind"], first["sure"], first["x"]) == ("people", "1.000", "")
    assert "labelled differently by 1, 2" in first["reason"]


def test_near_copies_are_in_one_part(tmp_path, detectors):
    """Frames of three videos make three parts at most."""
    project = start(
        tmp_path, "--labels", coco_labels(tmp_path / "labels.json", TRUE), "--video-names", r"(p[12]?)\d\.png"
    )
    assert "5 folds need" in check(project, fails=2)
    assert not (project / "check1").exists()
    check(project, "--folds", "2")
    parts = read_json(project / "check1" / "snapshot.json")["without"]
    names = {number: file.rpartition("/")[2] for number, file in load_project(project).files.items()}
    videos = [{re.search(r"(p[12]?)\d\.png", names[image])[1] for image in part} for part in parts]
    assert not videos[0] & videos[1]


def test_copies_found_by_their_pixels_are_in_one_part(tmp_path, detectors):
    project = start(tmp_path, "--labels", coco_labels(tmp_path / "labels.json", TRUE))
    pictures = tmp_path / "photos"
    (pictures / "copy.png").write_bytes((pictures / "p1.png").read_bytes() + b"\0")  # other bytes, the same pixels
    run("import", coco_labels(tmp_path / "copy.json", {"copy.png": TRUE["p1.png"]}), "--folder", project, fails=2)
    run("scan", "--folder", project)
    run("import", coco_labels(tmp_path / "copy.json", {"copy.png": TRUE["p1.png"]}), "--folder", project)
    check(project)
    numbers = {file.rpartition("/")[2]: number for number, file in load_project(project).files.items()}
    parts = read_json(project / "check1" / "snapshot.json")["without"]
    assert any({numbers["p1.png"], numbers["copy.png"]} <= set(part) for part in parts)


def test_without_enough_labels_it_says_what_to_do(tmp_path, detectors):
    project = start(tmp_path)
    assert "no picture to learn from is labelled yet" in check(project, fails=2)
    few = {"p1.png": TRUE["p1.png"], "p2.png": []}
    run("import", coco_labels(tmp_path / "few.json", few), "--folder", project, "--empty", "checked")
    assert "there are 2; label more, or take fewer folds" in check(project, fails=2)
    assert not list(project.glob("check*"))
    said = check(project, "--folds", "2")  # each class in one picture: found by no detector that has not seen it
    assert "too few boxes (1 of 10)" in said


def test_a_check_is_no_round(project):
    check(project)
    found = load_project(project)
    assert not found.rounds
    assert "check" not in (project / "ledger.jsonl").read_text()
    assert "next: mgral project next" in run("status", "--folder", project)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"held_out": 3}'])
def test_damaged_scores_are_told_and_made_again(project, content):
    said = check(project)
    scores = project / "check1" / "scores.json"
    whole = scores.read_bytes()
    scores.write_text(content)
    assert "scores.json" in check(project, fails=2)
    assert "scores.json" in check(project, "--last", fails=2)
    assert "scores.json of the latest check is damaged" in run("status", "--folder", project)
    scores.unlink()
    assert check(project) == said
    assert scores.read_bytes() == whole


@pytest.mark.parametrize(
    "content", ["[{}]", "[1]", '[{"image_id": 1, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 1}]']
)
def test_damaged_detections_of_a_check_are_told(project, content):
    check(project)
    next((project / "results" / "check1").rglob("held_out.json")).write_text(content)
    assert "check1, is damaged" in check(project, "--last", fails=2)


def test_somebodys_folder_of_the_name_of_a_check_stays(project):
    (project / "check1").mkdir()
    (project / "check1" / "notes.txt").write_text("mine")
    assert "check2: 5 detectors" in check(project)
    assert (project / "check1" / "notes.txt").read_text() == "mine"


def test_where_nothing_is_wrong_no_tasks_are_written(tmp_path, detectors):
    project = start(tmp_path, "--labels", coco_labels(tmp_path / "labels.json", TRUE))
    check(project)
    said = check(project, "--last", "--output", tmp_path / "again")
    assert "no picture needs another check" in said
    assert "tasks" not in said
    assert not (tmp_path / "again").exists()
