"""Files imported into a project on disk: what counts as the same file, and as boxes that nobody touched."""

import shutil

import photo_project
import pytest
from photo_project import answered, coco_labels, run, start

from mgral.labelling import running
from mgral.labelling.state import load_project


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def label_of(project, name):
    found = load_project(project)
    image = next(image for image, file in found.files.items() if file.endswith(f"/{name}"))
    confirmed = found.images[image].confirmed
    return None if confirmed is None else confirmed.boxes


def test_the_same_file_with_other_names_of_classes_is_a_correction(tmp_path):
    project = start(tmp_path)
    file = coco_labels(tmp_path / "a.json", {"p1.png": [(2, 3, 20, 10, "auto")]})
    run("import", file, "--folder", project, "--rename", "auto=car")
    run("import", file, "--folder", project, "--rename", "auto=dog")
    assert label_of(project, "p1.png")[0][4] == 2
    assert "1 unchanged" in run("import", file, "--folder", project, "--rename", "auto=dog")


def test_a_rename_that_cannot_be_meant_is_named(tmp_path):
    project = start(tmp_path)
    file = coco_labels(tmp_path / "a.json", {"p1.png": [(2, 3, 20, 10, "auto")]})
    words = "import", file, "--folder", project, "--rename"
    said = run(*words, "auto=car", "--rename", "auto=dog", fails=2)
    assert "'auto' is given two names, 'car' and 'dog'" in said
    said = run(*words, "auto=carr", fails=2)
    assert "no classes of this project (1): give one that it has: car, dog" in said
    assert "auto=carr" in said
    assert label_of(project, "p1.png") is None
    said = run(*words, "auto=car", "--rename", "hound=dog", "--rename", "auto=car")
    assert "of no class in the labels (1): nothing was renamed; correct them\n    hound\n" in said
    assert label_of(project, "p1.png")[0][4] == 1
    words = "init", tmp_path / "other", "--pictures", tmp_path / "photos", "--labels", file, "--budget", 20
    assert "    hound\n" in run(*words, "--rename", "hound=dog")


def test_a_data_yaml_stands_for_the_labels_beside_it(tmp_path):
    project = start(tmp_path)
    labels = tmp_path / "yolo" / "labels"
    labels.mkdir(parents=True)
    (labels.parent / "data.yaml").write_text("names: [car, dog]\n")
    for number in (0, 1):
        (labels / "p1.txt").write_text(f"{number} 0.5 0.5 0.2 0.2\n")
        run("import", labels.parent / "data.yaml", "--folder", project)
        assert label_of(project, "p1.png")[0][4] == 1 + number


@pytest.mark.parametrize("change", [("rename", "car", "auto"), ("merge", "car", "dog", "--into", "animal")])
def test_proposed_boxes_that_nobody_touched_stay_so_when_their_class_changes(tmp_path, change):
    project = start(tmp_path)
    run("next", "--folder", project)
    run("import", answered(project, 1), "--folder", project)
    run("next", "--folder", project)
    run("classes", *change, "--folder", project)
    before = dict(load_project(project).counts())
    said = run("import", project / "round2" / "tasks" / "coco", "--folder", project)
    assert "4 not checked" in said
    assert dict(load_project(project).counts()) == before


def test_an_import_goes_on_after_a_file_that_cannot_be_written(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project)
    export = answered(project, 1)
    shutil.copy(export, cut := tmp_path / "cut.json")
    cut.write_bytes(cut.read_bytes()[:-40])
    before = (project / "ledger.jsonl").read_bytes()
    assert "is not JSON, or only a part" in run("import", export, cut, "--folder", project, fails=2)
    assert (project / "ledger.jsonl").read_bytes() == before
    assert "8 new" in run("import", export, "--folder", project)


def test_names_and_reasons_that_are_no_text_are_kept_as_far_as_they_are(tmp_path):
    project = start(tmp_path)
    file = coco_labels(tmp_path / "a.json", {"p1.png": [(2, 3, 20, 10, "car")]}).rename(tmp_path / "\udcff.json")
    assert "?.json (coco): 1 new" in run("import", file, "--folder", project)
    run("withdraw", "p1.png", "--reason", "dark\udcff", "--folder", project)
    assert load_project(project).images[1].withdrawn == "dark?"


def test_what_is_not_finished_is_told_apart(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project)
    export = answered(project, 1, state=lambda place: {0: "draft", 1: "skipped"}.get(place, "done"))
    assert "8 new; of them 1 draft, 1 skipped\n" in run("import", export, "--folder", project)


def test_a_file_of_no_known_format_hides_no_faults_of_others(tmp_path):
    project = start(tmp_path)
    faulty = coco_labels(tmp_path / "a.json", {"other.png": [(2, 3, 20, 10, "car")]})
    (tmp_path / "b.csv").write_text("a;b")
    said = run("import", tmp_path / "b.csv", faulty, "--folder", project, fails=2)
    assert "b.csv" in said
    assert "other.png" in said


def test_labels_that_do_not_fit_are_refused_at_the_start_by_what_can_be_done_then(tmp_path):
    pictures = photo_project.photos(tmp_path / "photos", 2)
    labels = coco_labels(tmp_path / "a.json", {"p1.png": [(2, 3, 20, 10, "buoy")], "other.png": []})
    words = ["init", tmp_path / "mine", "--pictures", pictures, "--budget", 2, "--labels", labels, "--classes"]
    said = run(*words, "kite", fails=2)
    assert "begin without these labels" in said
    assert "name them in --classes" in said
    assert "project scan" not in said
    assert "kite is named more than once" in run(*words[:6], "--classes", "kite,car,kite", fails=2)


def test_all_faults_are_listed(tmp_path):
    project = start(tmp_path)
    labels = coco_labels(tmp_path / "a.json", {f"other{n}.png": [] for n in range(40)})
    said = run("import", labels, "--folder", project, fails=2)
    assert all(f"other{n}.png" in said for n in range(40))
