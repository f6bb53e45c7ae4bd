"""Replays of a project's labels: what is written, when one goes on, and what their rankings say."""

import json

import photo_project
import pytest
import yaml
from photo_project import answered, run, start
from slow import slow

from mgral.artefacts.files import read_json, write_csv
from mgral.cli.project.replay import latest_first
from mgral.config import load_config
from mgral.errors import InputError
from mgral.labelling import running
from mgral.labelling.experiments import replaying
from mgral.labelling.experiments.replaying import ranking_lines
from mgral.labelling.state import load_project


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    monkeypatch.setattr(replaying, "run_snakemake", lambda folder, config, **_: ranking(folder, config))


def ranking(folder, config):
    """Write the ranking that an experiment would have."""
    name = load_config(folder / config).experiment
    rows = [
        row("few", 0.31, 0.01, rank=2, seeds=2),
        row("better", 0.35, 0.05, rank=1, bootstrap=(0.03, 0.09), student=(0.02, 0.08)),
        row("alike", 0.305, 0.005, rank=3, bootstrap=(0.001, 0.02), student=(-0.01, 0.02)),
        row("even", 0.3, 0.0003, rank=4, bootstrap=(-0.02, 0.01), student=(-0.01, 0.02)),
        row("worse", 0.2, -0.1, rank=6, bootstrap=(-0.15, -0.05), student=(-0.16, -0.04)),
        row("random", 0.3, "", rank=5),
        row("by_boxes", 0.9, 0.6, rank=1, bootstrap=(0.5, 0.7), student=(0.5, 0.7), labels="boxes"),
    ]
    write_csv(folder / "results" / name / "tables" / "ranking.csv", rows, tuple(rows[0]))


def row(strategy, mean, to_random, rank, bootstrap=("", ""), student=("", ""), seeds=5, labels="images"):
    own = {"strategy": strategy, "mean": mean, "rank": rank, "seeds": seeds, "labels": labels, "score": "map"}
    ends = dict(zip(("_low", "_high", "_t_low", "_t_high"), (*bootstrap, *student), strict=True))
    of_random = {"": to_random, "_std": "", **ends}
    return own | {f"to_random{end}": value for end, value in of_random.items()}


def labelled_project(folder, *options, count=40):
    """Return a project with two rounds that came back: 26 pictures to choose from, and 10 of the audit set."""
    project = start(folder, *options, count=count, budget=52, batch=13)
    for number in (1, 2):
        run("next", "--folder", project, "--format", "label_studio")
        run("import", answered(project, number), "--folder", project)
    return project


def data_of(project, number, split):
    return read_json(project / f"replay{number}" / "data" / "annotations" / f"instances_{split}.json")


def test_it_is_an_experiment_on_what_is_labelled_and_the_project_stays_as_it_was(tmp_path):
    project = labelled_project(tmp_path, count=60)
    ledger = (project / "ledger.jsonl").read_bytes()
    said = run("replay", "--folder", project)
    assert (project / "ledger.jsonl").read_bytes() == ledger
    found = load_project(project)
    audit = {image for image, one in found.images.items() if one.role == "audit"}
    train, test = (data_of(project, 1, split) for split in ("train", "test"))
    assert {one["id"] for one in test["images"]} == audit
    assert {one["id"] for one in train["images"]} == {
        image for image, one in found.images.items() if one.state == "labelled"
    } - audit
    assert len(train["images"]) == 26
    assert {tuple(one["bbox"]) for one in train["annotations"]} == {(2.0, 3.0, 20.0, 10.0)}
    for one in train["images"]:
        linked = project / "replay1" / "data" / "train" / one["file_name"]
        assert linked.read_bytes() == (tmp_path / found.files[one["id"]]).read_bytes()
    config = load_config(project / "replay1" / "config.yaml")
    assert (config.experiment, config.seeds, config.cycles) == ("replay1", (0, 1, 2, 3, 4), 3)
    assert (config.initial, config.budget) == (5, 4)  # 0.2 and 0.45 / 3 of 26
    assert list(config.strategies) == ["class_presence_per_box", "random", "entropy_sum", "sqrt_counts"]
    before = yaml.safe_load((project / "round1" / "config.yaml").read_text())
    assert (config.detector.width, config.detector.height) == (
        before["detector"]["width"],
        before["detector"]["height"],
    )
    assert said.splitlines()[0] == str(project / "results" / "replay1" / "report.html")
    assert "no random sample" in said


def test_with_a_command_that_gives_no_probabilities_only_what_it_serves_is_compared(tmp_path):
    project = labelled_project(tmp_path, count=60)
    path = project / "project.yaml"
    detector = {"name": "external", "command": "run {train} {test} {output}", "gives": []}
    settings = yaml.safe_load(path.read_text()) | {"settings": {"detector": detector}}
    path.write_text(yaml.safe_dump(settings))
    said = run("replay", "--folder", project, fails=2)
    assert "class_presence_per_box needs probabilities" in said
    assert "in project.yaml, `strategy: sqrt_counts_per_box` works with every detector" in said
    path.write_text(yaml.safe_dump(settings | {"strategy": "sqrt_counts_per_box"}))
    run("replay", "--folder", project)
    config = load_config(project / "replay1" / "config.yaml")
    assert list(config.strategies) == ["sqrt_counts_per_box", "random", "sqrt_counts"]


def test_the_same_goes_on_and_other_labels_or_options_are_another_replay(tmp_path):
    project = labelled_project(tmp_path, count=60)
    for _ in range(2):
        run("replay", "--folder", project)
    assert sorted(path.name for path in project.glob("replay*")) == ["replay1"]
    run("replay", "--folder", project, "--strategy", "typiclust", "--seeds", 3, "--cycles", 2)
    config = load_config(project / "replay2" / "config.yaml")
    assert list(config.strategies) == ["typiclust", "random"]
    assert (config.seeds, config.cycles, config.budget) == ((0, 1, 2), 2, 6)
    run("import", answered(project, 2, later=60, boxes=[(9.0, 3.0, 20.0, 10.0, "car")]), "--folder", project)
    run("replay", "--folder", project)
    assert {tuple(one["bbox"]) for one in data_of(project, 3, "train")["annotations"]} == {
        (2.0, 3.0, 20.0, 10.0),
        (9.0, 3.0, 20.0, 10.0),
    }


def test_without_an_audit_set_a_fifth_is_tested_on_and_near_copies_stay_together(tmp_path):
    project = start(tmp_path, "--video-names", r"/p(\d)\d", count=60, budget=60, batch=40)
    settings = project / "project.yaml"
    settings.write_text(settings.read_text().replace("audit: null", "audit: 0"))
    run("next", "--folder", project, "--format", "label_studio")
    run("import", answered(project, 1), "--folder", project)
    said = run("replay", "--folder", project)
    # p10 to p19 are of one video, and so on; p1 to p9 are of none.
    names = {split: [one["file_name"] for one in data_of(project, 1, split)["images"]] for split in ("train", "test")}
    videos = {split: {name[1] for name in own if name[2].isdecimal()} for split, own in names.items()}
    assert not videos["train"] & videos["test"]
    numbers = {split: len(data_of(project, 1, split)["images"]) for split in ("train", "test")}
    assert f"there is no audit or test set: {numbers['test']} labelled pictures are tested on" in said
    assert 0 < numbers["test"] <= 8
    assert sum(numbers.values()) == 40
    run("replay", "--folder", project)
    assert not (project / "replay2").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--strategy", "nonsense"), "nonsense"),
        (("--seeds", "0"), "--seeds"),
        (("--cycles", "13"), "--cycles is at most 12"),
    ],
)
def test_what_is_refused_leaves_nothing(tmp_path, options, said):
    project = labelled_project(tmp_path, count=60)
    assert said in run("replay", "--folder", project, *options, fails=2)
    assert not list(project.glob("*replay*"))


def test_too_little_is_labelled(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--format", "label_studio")
    run("import", answered(project, 1), "--folder", project)
    assert "needs 20 labelled pictures to choose from, and there are 4" in run("replay", "--folder", project, fails=2)


def test_without_an_object_there_is_nothing_to_replay(tmp_path):
    project = start(tmp_path, count=40, budget=52, batch=26)
    run("next", "--folder", project, "--format", "label_studio")
    run("import", answered(project, 1, boxes=[]), "--folder", project)
    assert "all labels are empty" in run("replay", "--folder", project, fails=2)
    assert not list(project.glob("*replay*"))


def test_a_missing_picture_is_named_and_nothing_is_written(tmp_path):
    project = labelled_project(tmp_path, count=60)
    found = load_project(project)
    labelled = next(image for image, one in found.images.items() if one.state == "labelled" and not one.role)
    (tmp_path / found.files[labelled]).unlink()
    assert found.files[labelled].partition("/")[2] in run("replay", "--folder", project, fails=2)
    assert not list(project.glob("*replay*"))


def test_the_ranking_in_words(tmp_path):
    project = labelled_project(tmp_path, count=60)
    run("replay", "--folder", project)
    assert ranking_lines(project / "results" / "replay1") == [
        "better: mean mAP 35.0 %, compared with random: clearly above, +5.0 points (+2.0 to +9.0)",
        "few: mean mAP 31.0 %, compared with random: +1.0 points; too few seeds to exclude chance",
        "alike: mean mAP 30.5 %, compared with random: no clear difference, +0.5 points (-1.0 to +2.0)",
        "even: mean mAP 30.0 %, compared with random: no difference (-2.0 to +2.0)",
        "random: mean mAP 30.0 %, what the others are compared with",
        "worse: mean mAP 20.0 %, compared with random: clearly below, -10.0 points (-16.0 to -4.0)",
    ]
    (project / "results" / "replay1" / "tables" / "ranking.csv").write_text("rank\n1\n")
    with pytest.raises(InputError, match="missing or damaged"):
        ranking_lines(project / "results" / "replay1")


@slow
def test_what_it_will_cost(tmp_path):
    """Snakemake itself plans it: the initial detectors, those of two strategies, and those of all labels."""
    project = labelled_project(tmp_path, count=60)
    settings = project / "project.yaml"
    small = {"detector": {"name": "small_ssd", "width": 32, "height": 32, "channels": 4}}
    values = yaml.safe_load(settings.read_text()) | {"settings": {**small, "iterations": {"detector": 4}}}
    settings.write_text(json.dumps(values))
    said = run("replay", "--folder", project, "--strategy", "entropy_sum", "--seeds", 3, "--cycles", 2, "--estimate")
    assert "26 training and 10 test images, 2 classes" in said
    line = next(line for line in said.splitlines() if line.startswith("detector"))
    assert int(line.split()[1]) == 3 * (1 + 2 * 2 + 1)
    assert not (project / "results" / "replay1").exists()


def test_the_latest_round_gives_the_times_of_an_estimate(tmp_path):
    for name in ("round2", "round10", "round9", "replay1", "round_old"):
        (tmp_path / name).mkdir()
    assert [path.name for path in latest_first(tmp_path)] == ["round10", "round9", "round2"]
