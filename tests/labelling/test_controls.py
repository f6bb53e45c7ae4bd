"""Pictures that are drawn at random beside what a strategy chose: how they go out, and what is told of them."""

import csv
import shutil

import photo_project
import pytest
import yaml
from made_project import MadeProject
from photo_project import answered, run, start
from told_detectors import ToldDetectors

from mgral.artefacts.files import read_json
from mgral.errors import StepError
from mgral.evaluation.difference import Difference
from mgral.labelling import running
from mgral.labelling.batches import mixed
from mgral.labelling.experiments import comparing
from mgral.labelling.experiments.controls import Kinds, kinds_of, parts, verdict_line
from mgral.labelling.rounds import control_count
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import load_project

CAR = (2.0, 3.0, 20.0, 10.0, "car")
TRUE = {f"p{number}.png": [CAR] for number in range(1, 121)}


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def controlled(folder, count=60, budget=60, batch=10, control=0.4, **settings):
    """Make a project with controls in its batches."""
    project = start(folder, count=count, budget=budget, batch=batch)
    values = yaml.safe_load((project / "project.yaml").read_text())
    (project / "project.yaml").write_text(yaml.safe_dump(values | {"control": control, "audit": 8} | settings))
    return project


def next_round(project, number, *options):
    run("next", "--folder", project, "--format", "label_studio", *options)
    run("import", answered(project, number), "--folder", project)


def rows(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("control", "batch", "count"), [(0.0, 40, 0), (0.2, 40, 8), (0.2, 12, 2), (0.01, 10, 1), (0.5, 2, 1), (0.5, 1, 0)]
)
def test_how_many_are_drawn(tmp_path, control, batch, count):
    settings = load_project_settings(start(tmp_path)).model_copy(update={"control": control})
    assert control_count(settings, batch) == count


def test_a_part_of_the_batch_is_drawn_and_the_batch_does_not_tell_which(tmp_path):
    project = controlled(tmp_path)
    said = run("next", "--folder", project, "--format", "label_studio")
    assert "4 were drawn at random, as a control, among the others; 1 of them chosen too" in said
    snapshot, config = (
        read_json(project / "round1" / "snapshot.json"),
        (project / "round1" / "config.yaml").read_text(),
    )
    assert snapshot["controls"] == 4
    assert "\nbudget: 6\n" in config
    batch = [row for row in rows(project / "round1" / "selection.csv") if "audit" not in row["reason"]]
    reasons = [row["reason"].replace("typical of pictures that have no label yet", "typical") for row in batch]
    drawn, both = "drawn at random, as a control", "typical; also drawn at random, as a control"
    assert sorted(reasons) == sorted([drawn] * 3 + [both] + ["typical"] * 5)  # nine: one counts as both
    assert [row["score"] for row in batch if row["reason"] != drawn] == ["6", "5", "4", "3", "2", "1"]
    found = load_project(project)
    by_reason = {
        kind: {int(row["image"]) for row, reason in zip(batch, reasons, strict=True) if kind in reason}
        for kind in ("typical", "control")
    }
    assert (found.chosen, found.controls) == ({1: by_reason["typical"]}, {1: by_reason["control"]})
    shown = (project / "round1" / "sheet.html").read_text()
    tasks = read_json(project / "round1" / "tasks" / "label_studio" / "label_studio.json")
    own = [task for task in tasks if "mgral_groups" not in task["data"]]
    assert len(own) == 9
    assert {task["data"]["mgral_reason"] for task in own} == {"typical of pictures that have no label yet"}
    assert not any("score" in one for task in own for one in task.get("predictions", ()))
    assert shown.count("typical of pictures that have no label yet") == 9
    assert "· score" not in shown


def test_people_who_share_a_batch_are_not_told_either(tmp_path):
    project = controlled(tmp_path)
    run("next", "--folder", project, "--format", "label_studio", "--people", "2")
    for person in (1, 2):
        own = rows(project / "round1" / f"person{person}" / "selection.csv")
        assert not any("control" in row["reason"] or row["score"] for row in own)
    assert sum("control" in row["reason"] for row in rows(project / "round1" / "selection.csv")) == 4


def test_a_batch_without_a_place_for_a_control_says_so(tmp_path):
    said = run("next", "--folder", controlled(tmp_path, batch=1))
    assert "no control was drawn beside it, as a batch of 1 has no place for one" in said
    assert "1 was drawn at random" in run("next", "--folder", controlled(tmp_path / "two", batch=2))


def test_without_controls_nothing_of_a_batch_changes(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--format", "label_studio")
    found = load_project(project)
    assert not found.controls
    assert not found.chosen
    assert "control" not in (project / "ledger.jsonl").read_text()
    assert "budget: 4\n" in (project / "round1" / "config.yaml").read_text()


def test_others_lie_at_every_place_alike():
    own, others = [(n, 1.0, "a") for n in range(6)], [(n, None, "b") for n in range(100, 103)]
    drawn = [mixed(own, others, seed) for seed in range(900)]
    assert all([row for row in one if row[2] == "a"] == own for one in drawn)
    assert all([row for row in one if row[2] == "b"] == others for one in drawn)
    for place in range(9):  # a third of 900, standard deviation 14
        assert 250 < sum(one[place][2] == "b" for one in drawn) < 350
    assert mixed(own, [], 0) == own


def test_images_by_how_they_came_in():
    made = MadeProject(pictures=12)
    for image in (1, 2):
        made.label(image)

    def send(number, *events):
        common = {"round": number, "boxes": []}
        made.add("sent", *({"image": image, "name": f"p{image}.jpg", **common, **more} for image, more in events))

    send(1, (3, {}))
    both, chosen, drawn = ({"chosen": c, "control": d} for c, d in ((True, True), (True, False), (False, True)))
    send(2, (4, chosen), (5, drawn), (6, both), (7, drawn), (8, {}))
    send(3, (9, {}))
    send(4, (10, chosen), (11, drawn))
    made.add("recalled", {"image": 7})
    everything = list(range(1, 13))
    assert kinds_of(made.project, everything) == Kinds((1, 2, 3, 12), (4, 6, 10), (5, 6, 11))
    assert kinds_of(made.project, [1, 4, 5]) == Kinds((1,), (4,), (5,))
    assert kinds_of(MadeProject().project, [1, 2]) == Kinds((1, 2), (), ())


def test_each_detector_learns_what_was_before_and_half_of_the_smaller_kind():
    kinds = Kinds((1, 2), tuple(range(10, 40)), tuple(range(50, 60)))
    everything = [*kinds.before, *kinds.chosen, *kinds.controls, 99]
    drawn = parts(kinds, everything, 400)
    learnt = [set(everything) - set(one) for one in drawn]
    assert all({1, 2} <= one and len(one) == 7 for one in learnt)
    assert all(one - {1, 2} <= set(kinds.chosen) for one in learnt[::2])
    assert all(one - {1, 2} <= set(kinds.controls) for one in learnt[1::2])
    for image in kinds.controls:  # half of 400, standard deviation 10
        assert 160 < sum(image in one for one in learnt[1::2]) < 240
    for image in kinds.chosen:  # a sixth of 400, standard deviation 7.5
        assert 38 < sum(image in one for one in learnt[::2]) < 96


def compare(project, *options, fails=0):
    return run("control", "--folder", project, *options, fails=fails)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A project of three rounds with controls, all of which came back."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "run_snakemake", photo_project.compute)
        project = controlled(tmp_path_factory.mktemp("controls"))
        for number in (1, 2, 3):
            next_round(project, number)
    return project


@pytest.fixture
def project(labelled, tmp_path):
    """A copy of it."""
    shutil.copytree(labelled.parent, tmp_path / "copy")
    return tmp_path / "copy" / labelled.name


def told(monkeypatch, project, chosen, drawn):
    """Let detectors be as good as they have learnt chosen pictures or controls."""
    found = load_project(project)
    controls = set().union(*found.controls.values()) - set().union(*found.chosen.values())

    def skill(learnt):
        of_controls = len(learnt & controls) / 5
        return drawn if of_controls > 0.5 else chosen

    detectors = ToldDetectors(TRUE, skill)
    monkeypatch.setattr(comparing, "run_snakemake", detectors)
    return detectors


@pytest.mark.parametrize(
    ("chosen", "drawn", "words"),
    [
        (1.0, 0.25, "typiclust and class_presence_per_box is better than drawing at random on your pictures: +74"),
        (0.25, 1.0, "typiclust and class_presence_per_box is worse than drawing at random on your pictures: -74"),
        (0.5, 0.5, "cannot be decided yet: +0.0 points of mAP, 95 % interval +0.0 to +0.0"),
    ],
)
def test_what_is_told_follows_from_the_scores(project, monkeypatch, chosen, drawn, words):
    detectors = told(monkeypatch, project, chosen, drawn)
    said = compare(project)
    assert words in said
    assert "5 detectors learnt 6 of 18 chosen pictures, and as many 6 of 12 controls, beside the 0 labelled" in said
    assert compare(project) == said
    assert detectors.runs == ["control1"]
    assert len(read_json(project / "control1" / "snapshot.json")["without"]) == 10


def test_what_was_interrupted_goes_on(project, monkeypatch):
    def killed(*_, **__):
        raise StepError("Snakemake was killed")

    monkeypatch.setattr(comparing, "run_snakemake", killed)
    compare(project, "--repeats", "3", fails=1)
    told(monkeypatch, project, 1.0, 0.25)
    assert "was begun with 3 repeats and is not done" in compare(project, "--repeats", "4", fails=2)
    assert "control1: 3 detectors" in compare(project)
    assert "control2: 4 detectors" in compare(project, "--repeats", "4")


def test_without_an_audit_set_it_is_refused_with_what_to_do(tmp_path):
    project = controlled(tmp_path / "none", audit=0)
    next_round(project, 1)
    assert "there is none: set `audit` in project.yaml before the first round" in compare(project, fails=2)
    project = controlled(tmp_path / "out")
    run("next", "--folder", project, "--format", "label_studio")
    export = answered(project, 1, state=lambda place: "done" if place >= 8 else "untouched")
    run("import", export, "--folder", project)
    assert "nothing of it is labelled; label it first" in compare(project, fails=2)
    assert not list(project.glob("control*"))


def test_too_few_controls_are_refused(tmp_path):
    project = controlled(tmp_path / "few")
    next_round(project, 1)
    said = compare(project, fails=2)
    assert "6 labelled pictures were chosen beside 4 that were drawn as controls, and 10 of each are needed" in said
    assert "control: 0.2" not in said
    project = controlled(tmp_path / "no", control=0.0)
    next_round(project, 1)
    assert "set `control: 0.2` in project.yaml" in compare(project, fails=2)


def test_words_of_each_verdict():
    assert verdict_line("ppal", Difference(0.031, 0.004, 0.058)) == (
        "choosing by ppal is better than drawing at random on your pictures: +3.1 points of mAP, "
        "95 % interval +0.4 to +5.8"
    )
    assert "is worse" in verdict_line("ppal", Difference(-0.03, -0.05, -0.01))
    assert "whether choosing by ppal is better than at random cannot be decided yet" in verdict_line(
        "ppal", Difference(0.03, -0.05, 0.08)
    )
