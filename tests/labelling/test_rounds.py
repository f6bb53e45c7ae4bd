"""Rounds of a project by its commands: what is sent, what comes back, and what is left after any fault."""

import csv
import json
import shutil
from pathlib import Path

import photo_project
import pytest
import yaml
from photo_project import answered, coco_labels, photos, run, start

from mgral.artefacts.files import read_json, write_json
from mgral.labelling import ledger, running
from mgral.labelling.state import load_project
from mgral.labelling.status import spent

CAR = (2.0, 3.0, 20.0, 10.0, "car")


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def next_round(project, *options, fails=0):
    return run("next", "--folder", project, "--format", "label_studio", *options, fails=fails)


def chosen(project, number):
    with (project / f"round{number}" / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        return [int(row["image"]) for row in csv.DictReader(file)]


def image_of(project, name):
    found = load_project(project)
    return next(found.images[image] for image, file in found.files.items() if Path(file).name == name)


def states(project):
    return dict(load_project(project).counts())


def test_the_first_batch_has_the_audit_set_without_boxes_and_the_budget_counts_it(tmp_path):
    project = start(tmp_path)
    next_round(project)
    found = load_project(project)
    audit = [image for image, one in found.images.items() if one.role == "audit"]
    assert len(audit) == 4  # a fifth of the budget of 20
    assert chosen(project, 1)[:4] == sorted(audit)
    assert len(chosen(project, 1)) == 8
    assert spent(found) == 8
    snapshot = read_json(project / "round1" / "snapshot.json")
    assert set(audit) <= set(snapshot["left_out"])
    assert not snapshot["labelled"]


def test_only_what_a_person_confirmed_is_learnt_and_what_is_out_is_not_sent_again(tmp_path):
    project = start(tmp_path)
    next_round(project)
    first = chosen(project, 1)
    kinds = {4: "done", 5: "skipped", 6: "draft", 7: "untouched"}
    said = run("import", answered(project, 1, state=lambda p: kinds.get(p, "done")), "--folder", project)
    assert "7 new, 1 not checked" in said
    assert states(project) == {"untouched": 22, "sent": 1, "draft": 1, "skipped": 1, "labelled": 5}
    next_round(project)
    snapshot = read_json(project / "round2" / "snapshot.json")
    assert [one["id"] for one in snapshot["labelled"]] == [first[4]]
    assert [one["id"] for one in snapshot["audit"]] == first[:4]
    assert set(first[5:]) <= set(snapshot["left_out"])
    assert not set(chosen(project, 2)) & set(first)
    tasks = read_json(project / "round2" / "tasks" / "label_studio" / "label_studio.json")
    assert all(task["predictions"] for task in tasks)


def test_boxes_that_nobody_confirmed_never_come_back_as_labels(tmp_path):
    """Not from Label Studio's tasks themselves, nor from the files of formats without states."""
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    run("next", "--folder", project)
    before = states(project)
    tasks = project / "round2" / "tasks"
    for file in ("label_studio/label_studio.json", "cvat/annotations.xml", "coco/instances.json", "yolo", "voc"):
        run("import", tasks / file, "--folder", project)
        assert states(project) == before, file


def test_the_budget_ends_the_rounds_and_the_last_batch_is_cut_to_it(tmp_path):
    project = start(tmp_path, budget=11, batch=5)  # 2 for the audit set
    for number, size in ((1, 7), (2, 4)):
        assert run("status", "--folder", project).endswith("next: mgral project next\n")
        next_round(project)
        assert len(chosen(project, number)) == size
        assert f"next: mgral project import FILE (FILE: what your tool exported), for {size} pictures" in run(
            "status", "--folder", project
        )
        run("import", answered(project, number), "--folder", project)
    assert "next: mgral project train and mgral project export, or raise" in run("status", "--folder", project)
    assert "the budget of 11 pictures is used; raise `budget`" in next_round(project, fails=2)
    assert not (project / "round3").exists()


def test_a_round_is_not_opened_while_nothing_has_come_back_unless_asked_to(tmp_path):
    project = start(tmp_path)
    next_round(project)
    assert "no label of round 1 was imported" in next_round(project, fails=2)
    assert not (project / "round2").exists()
    next_round(project, "--anyway")
    assert not set(chosen(project, 1)) & set(chosen(project, 2))


def test_recalled_pictures_can_be_chosen_again_and_cost_nothing(tmp_path):
    project = start(tmp_path)
    next_round(project)
    first = chosen(project, 1)
    assert "8 pictures can be chosen again" in run("recall", "--round", "1", "--folder", project)
    assert spent(load_project(project)) == 0
    next_round(project, "--anyway")
    assert chosen(project, 2) == first


def test_a_recall_of_a_round_leaves_pictures_that_a_later_round_sent_again(tmp_path):
    project = start(tmp_path)
    next_round(project)
    run("recall", "--round", "1", "--folder", project)
    next_round(project, "--anyway")
    again = len(set(chosen(project, 1)) & set(chosen(project, 2)))
    assert again > 0
    said = run("status", "--folder", project)
    assert f"round 1: {8 - again} pictures sent" in said
    assert "round 2: 8 pictures sent" in said
    assert f"{8 - again} pictures can be chosen again" in run("recall", "--round", "1", "--folder", project)


def test_an_audit_set_is_drawn_from_pictures_that_are_there(tmp_path):
    project = start(tmp_path)
    settings = yaml.safe_load((project / "project.yaml").read_text())
    (project / "project.yaml").write_text(yaml.safe_dump(settings | {"audit": 15}))
    for path in sorted((tmp_path / "photos").iterdir())[:8]:
        path.unlink()
    next_round(project)
    found = load_project(project)
    audit = [image for image, one in found.images.items() if one.role == "audit"]
    assert audit
    assert all((tmp_path / found.files[image]).exists() for image in audit)


def test_a_correction_counts_from_the_next_round_and_changes_none_before(tmp_path):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    next_round(project)
    before = {path: path.read_bytes() for path in (project / "round2").rglob("*") if path.is_file()}
    image = chosen(project, 1)[5]
    name = Path(load_project(project).files[image]).name
    corrected = coco_labels(tmp_path / "corrected.json", {name: [(5, 5, 9, 9, "dog")]})
    assert "1 corrected" in run("import", corrected, "--folder", project)
    assert {path: path.read_bytes() for path in before} == before
    next_round(project, "--anyway")
    labels = {one["id"]: one["boxes"] for one in read_json(project / "round3" / "snapshot.json")["labelled"]}
    assert labels[image] == [[5.0, 5.0, 9.0, 9.0, 2]]


def test_an_old_file_imported_again_does_not_bring_back_what_was_corrected(tmp_path):
    project = start(tmp_path)
    first = coco_labels(tmp_path / "first.json", {"p1.png": [CAR], "p2.png": []})
    same = coco_labels(tmp_path / "same.json", {"p2.png": [], "p1.png": [CAR]})
    second = coco_labels(tmp_path / "second.json", {"p1.png": [(5, 5, 9, 9, "dog")]})
    for file in (first, same, second):
        run("import", file, "--folder", project)
    before = image_of(project, "p1.png")
    for file in (first, same):
        assert "was imported before; 1 unchanged" in run("import", file, "--folder", project)
    assert image_of(project, "p1.png") == before
    said = run("import", first, "--folder", project, "--empty", "checked")
    assert "was imported before; 1 new, 1 unchanged" in said
    assert image_of(project, "p2.png").state == "empty"


def test_pictures_left_out_at_first_are_imported_once_they_are_there(tmp_path):
    project = start(tmp_path, count=2)
    labels = coco_labels(tmp_path / "all.json", {f"p{number}.png": [CAR] for number in (1, 2, 3)})
    assert "pictures are not of this project" in run("import", labels, "--folder", project, fails=2).lower()
    assert states(project) == {"untouched": 2}
    run("import", labels, "--unknown", "leave_out", "--folder", project)
    photos(tmp_path / "photos", 1, first=3)
    run("scan", "--folder", project)
    assert "1 new, 2 unchanged" in run("import", labels, "--folder", project)


def test_a_folder_of_labels_that_a_project_began_with_is_known_when_it_is_imported(tmp_path):
    names = [path.stem for path in sorted(photos(tmp_path / "photos", 30).iterdir())]
    labels = tmp_path / "yolo"
    (labels / "labels").mkdir(parents=True)
    (labels / "data.yaml").write_text("names: [car, dog]\n")
    for name in names[:3]:
        (labels / "labels" / f"{name}.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    project = start(tmp_path, "--labels", labels / "data.yaml")
    assert "was imported before; 3 unchanged" in run("import", labels, "--folder", project)


def test_a_new_class_waits_for_another_look(tmp_path):
    """A second look that finds nothing new completes an image, in formats with and without states."""
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    assert "8 pictures must be checked again" in run("classes", "add", "cow", "--folder", project)
    next_round(project)
    assert [name for _, name in read_json(project / "round2" / "snapshot.json")["classes"]] == ["car", "dog"]
    run("again", project / "relook", "--folder", project)
    assert "relook exists already" in run("again", project / "relook", "--folder", project, fails=2)
    looked = project / "relook" / "tasks" / "cvat" / "annotations.xml"
    assert "8 not checked" in run("import", looked, "--folder", project)
    run("import", looked, "--empty", "checked", "--folder", project)
    assert "no picture needs another check" in run("again", project / "other", "--folder", project)
    next_round(project, "--anyway")
    snapshot = read_json(project / "round3" / "snapshot.json")
    assert [name for _, name in snapshot["classes"]] == ["car", "dog", "cow"]
    assert not any(one["incomplete"] for one in [*snapshot["labelled"], *snapshot["audit"]])


def test_missing_pictures_stay_out_and_renamed_ones_keep_their_labels(tmp_path):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    labelled = chosen(project, 1)
    files = load_project(project).files
    gone, renamed = labelled[4], labelled[5]
    (tmp_path / files[gone]).unlink()
    (tmp_path / files[renamed]).rename(tmp_path / "photos" / "other name.png")
    said = next_round(project)
    assert "missing" in said
    said = run("status", "--folder", project)
    assert "missing: 1 picture is not on disk, and not used until back" in said
    assert ["car", "3", "4"] in [line.split() for line in said.splitlines()]  # of 4 and 4
    snapshot = read_json(project / "round2" / "snapshot.json")
    assert gone in snapshot["left_out"]
    assert renamed in {one["id"] for one in snapshot["labelled"]}
    moved = read_json(project / "pictures" / "moved.json")
    assert moved == {str(gone): None, str(renamed): "photos/other name.png"}


def test_pictures_of_other_bytes_are_refused_by_name(tmp_path):
    project = start(tmp_path)
    shutil.copyfile(tmp_path / "photos" / "p1.png", tmp_path / "x.png")
    photos(tmp_path / "other", 1, first=99)
    (tmp_path / "other" / "p99.png").replace(tmp_path / "photos" / "p1.png")
    before = (project / "ledger.jsonl").read_bytes()
    assert "photos/p1.png" in next_round(project, fails=2)
    assert (project / "ledger.jsonl").read_bytes() == before
    assert not (project / "round1").exists()


def test_an_altered_snapshot_is_named(tmp_path):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    path = project / "round1" / "snapshot.json"
    path.write_text(path.read_text() + " ")
    assert "round 1 was altered" in next_round(project, fails=2)
    assert "round 1 was altered" in run("dvc", "--folder", project, fails=2)


def test_a_test_set_takes_the_place_of_the_audit_set(tmp_path):
    pictures = photos(tmp_path / "held", 3, first=50)
    labels = coco_labels(tmp_path / "held.json", {f"p{number}.png": [CAR] for number in (50, 51, 52)})
    project = start(tmp_path, "--test-pictures", pictures, "--test-labels", labels)
    next_round(project)
    snapshot = read_json(project / "round1" / "snapshot.json")
    assert len(snapshot["audit"]) == 3
    assert len(chosen(project, 1)) == 4
    assert not {one["id"] for one in snapshot["audit"]} & set(chosen(project, 1))


def test_a_budget_too_small_for_an_audit_set_is_said(tmp_path):
    said = run(
        "init", tmp_path / "mine", "--pictures", photos(tmp_path / "photos", 3), "--classes", "car", "--budget", 3
    )
    assert "there is no audit set, so rounds have no scores" in said


def test_an_audit_set_without_an_object_has_no_score(tmp_path):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1, boxes=[]), "--folder", project)
    next_round(project)
    said = run("status", "--folder", project)
    assert "detector of round 2, on the audit set: no score: no object is labelled there" in said


def test_a_training_learns_from_all_labels_and_sends_nothing(tmp_path):
    project = start(tmp_path)
    assert "no picture to learn from is labelled yet" in run("train", "--folder", project, fails=2)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    before = spent(load_project(project))
    said = run("train", "--folder", project)
    assert "detector of round 2, on the audit set: AP50 50.0 %" in said
    assert len(read_json(project / "round2" / "snapshot.json")["labelled"]) == 4
    assert sorted(path.name for path in (project / "round2").iterdir()) == ["config.yaml", "snapshot.json"]
    assert spent(load_project(project)) == before
    assert "round 2: trains on all labels, chooses nothing" in run("status", "--folder", project)
    next_round(project)
    assert len(chosen(project, 3)) == 4
    assert "no label of round 3 was imported" in next_round(project, fails=2)


def test_the_status_says_how_good_the_detector_is_and_how_sure_that_is(tmp_path):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)
    next_round(project)
    lines = run("status", "--folder", project).splitlines()
    place = lines.index("detector of round 2, on the audit set: AP50 50.0 %, mAP 25.0 %")
    assert lines[place + 1 : place + 6] == [
        "  rough means: 2 of 2 classes have fewer than 10 boxes there",
        "  1 of its 4 pictures are near-copies of others of the project: on new scenes the detector may find less",
        "  class  boxes  AP in %",
        "  car        4  too few boxes (4 of 10)",
        "  dog        0  too few boxes (0 of 10)",
    ]


def test_a_split_batch_gives_every_picture_to_one_person_and_shared_ones_to_two(tmp_path):
    project = start(tmp_path)
    next_round(project, "--people", "3", "--shared", "0.25")
    shares = []
    for person in (1, 2, 3):
        tasks = read_json(project / "round1" / f"person{person}" / "tasks" / "label_studio" / "label_studio.json")
        shares.append([task["data"]["mgral_id"] for task in tasks])
    given = [image for share in shares for image in share]
    assert sorted(set(given)) == sorted(chosen(project, 1))
    assert len(given) == 8 + 2
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_two_commands_do_not_change_a_project_at_once(tmp_path):
    project = start(tmp_path)
    labels = coco_labels(tmp_path / "one.json", {"p1.png": [CAR]})
    with ledger.writing(project):
        said = run("import", labels, "--folder", project, fails=2)
    assert "another command is changing the project" in said
    assert states(project) == {"untouched": 30}


def test_files_of_another_project_are_refused(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = start(tmp_path / "one"), start(tmp_path / "two")
    next_round(first)
    said = run("import", answered(first, 1), "--folder", second, fails=2)
    assert "files are of another project" in said.lower()
    assert json.dumps(states(second)) == '{"untouched": 30}'


def test_pictures_say_how_they_were_chosen_where_that_was_not_the_usual_way(tmp_path, monkeypatch):
    project = start(tmp_path, "--strategy", "mgral_greedy")
    next_round(project)
    run("import", answered(project, 1), "--folder", project)

    def compute_with_a_note(folder, configfile, **options):
        photo_project.compute(folder, configfile, **options)
        (made,) = (folder / "results" / "round2").glob("seed2/strategies/*/cycle0/selection.json")
        write_json(made, read_json(made) | {"note": "by images of each class"})

    monkeypatch.setattr(running, "run_snakemake", compute_with_a_note)
    assert "chosen by mgral_greedy: by images of each class" in next_round(project)
    with (project / "round2" / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        assert {row["reason"] for row in csv.DictReader(file)} == {"by images of each class"}


def test_pictures_of_the_same_score_say_that_they_were_drawn(tmp_path, monkeypatch):
    project = start(tmp_path)
    next_round(project)
    run("import", answered(project, 1), "--folder", project)

    def compute_with_ties(folder, configfile, **options):
        photo_project.compute(folder, configfile, **options)
        (made,) = (folder / "results" / "round2").glob("seed2/strategies/*/cycle0/selection.json")
        write_json(made, read_json(made) | {"tied": 2})

    monkeypatch.setattr(running, "run_snakemake", compute_with_ties)
    assert "2 of them were drawn at random among pictures of the same score" in next_round(project)
    with (project / "round2" / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        reasons = [row["reason"] for row in csv.DictReader(file)]
    assert reasons[-2:] == ["drawn at random among pictures of the same score"] * 2
    assert set(reasons[:-2]) == {"images of rare classes, for few boxes to draw"}
