"""The curve of a project: all rounds evaluated again on the same pictures, with today's labels."""

import json
import shutil

import numpy as np
import photo_project
import pytest
from photo_project import answered, run, start

from mgral.artefacts.files import read_json, write_json
from mgral.artefacts.seeds import derive_seed
from mgral.evaluation.coco import score_detections
from mgral.labelling import running
from mgral.labelling.progress import curve as module
from mgral.labelling.progress.curve import project_curve
from mgral.labelling.progress.effort import effort
from mgral.labelling.progress.evaluated import Audit, EvaluatedRound
from mgral.labelling.settings import load_project_settings
from mgral.labelling.state import load_project, project_lines

CAR = [2.0, 3.0, 20.0, 10.0]
PARTS = {2: 5, 3: 9}
"""How many of the 12 cars of the audit set the detectors of the rounds find."""


@pytest.fixture(autouse=True)
def _computed_at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)


def detections(project, number):
    return project / "results" / f"round{number}" / f"seed{number}" / "initial" / "cycle0" / "detections.json"


def found_in(images, count, shift=0.0):
    """Return what a detector finds: the cars of some images, moved by some pixels, and something wrong in others."""
    right = [
        {"image_id": image, "category_id": 1, "bbox": [CAR[0] + shift, *CAR[1:]], "score": 0.9 - place / 100}
        for place, image in enumerate(images[:count])
    ]
    wrong = [
        {"image_id": image, "category_id": 1, "bbox": [25, 20, 9, 9], "score": 0.8 - place / 100}
        for place, image in enumerate(images[count:])
    ]
    return right + wrong


def audit_of(project):
    return sorted(image for image, one in load_project(project).images.items() if one.role == "audit")


def three_rounds(folder, *options, back=lambda _: "done"):
    """Return a project whose first round has no detector, and two more that find some of the cars."""
    project = start(folder, *options, count=60, budget=60, batch=6)
    run("next", "--folder", project, "--format", "label_studio")
    run("import", answered(project, 1, state=back), "--folder", project)
    for number, count in PARTS.items():
        run("next", "--folder", project, "--format", "label_studio")
        write_json(detections(project, number), found_in(audit_of(project), count))
        run("import", answered(project, number), "--folder", project)
    return project


def measured(project):
    settings, found = load_project_settings(project), load_project(project)
    return project_curve(project, settings, found, effort(project_lines(project), found).times)


def relabelled(project, images, boxes):
    """Give images other boxes, as a correction that is imported."""
    names = {image: load_project(project).files[image].partition("/")[2] for image in images}
    rows = {name: [(*box, "car") for box in boxes] for name in names.values()}
    run("import", photo_project.coco_labels(project.parent / "corrected.json", rows), "--folder", project)


def test_scores_are_cocos_and_costs_are_of_what_was_learnt(tmp_path):
    project = three_rounds(tmp_path)
    curve = measured(project)
    assert [(one.round, one.pictures, one.boxes) for one in curve.points] == [(2, 6, 6), (3, 12, 12)]
    assert [one.hours for one in curve.points] == pytest.approx([6 * 7.5 / 3600, 12 * 7.5 / 3600])
    assert (curve.images, curve.boxes) == (12, {1: 12, 2: 0})
    images = audit_of(project)
    boxes = [
        {"id": place, "image_id": image, "category_id": 1, "bbox": CAR, "area": 200.0, "iscrowd": 0}
        for place, image in enumerate(images, 1)
    ]
    truth = {
        "images": [{"id": image, "width": 48, "height": 36} for image in images],
        "annotations": boxes,
        "categories": [{"id": 1, "name": "car"}],
    }
    for one in curve.points:
        expected = score_detections(truth, read_json(detections(project, one.round)), images)
        assert one.scores["map"].value == pytest.approx(expected["map"], abs=1e-9)
        assert one.scores["ap50"].value == pytest.approx(expected["ap50"], abs=1e-9)
        assert one.by_class[1].value == pytest.approx(expected["map"], abs=1e-9)
        assert one.scores["map"].interval.low < one.scores["map"].value < one.scores["map"].interval.high
    gain = curve.gains["ap50"][0]
    assert gain.value == pytest.approx(np.diff([one.scores["ap50"].value for one in curve.points])[0])
    assert gain.interval.low > 0
    # Half are right of the best 10 of round 2, and of all 12 of round 3. Of the first nine pictures five are alike,
    # and so is the tenth, where both find the same that is wrong.
    assert curve.agreement == (pytest.approx(2 * 6 / (10 + 12)),)


def test_two_rounds_that_find_the_same_differ_by_nothing(tmp_path):
    project = three_rounds(tmp_path)
    shutil.copyfile(detections(project, 2), detections(project, 3))
    curve = measured(project)
    assert curve.gains["map"][0].value == 0
    assert curve.gains["map"][0].interval == (0, 0)
    assert curve.scatter["map"] == pytest.approx(0, abs=1e-12)
    assert curve.points[0].scores["map"].interval.high - curve.points[0].scores["map"].interval.low > 0.2


def test_a_corrected_label_changes_the_scores_of_all_rounds(tmp_path):
    project = three_rounds(tmp_path)
    before = measured(project)
    relabelled(project, audit_of(project)[:1], [(25, 20, 9, 9)])
    after = measured(project)
    for one, other in zip(before.points, after.points, strict=True):
        assert other.scores["ap50"].value < one.scores["ap50"].value


def test_what_was_measured_is_kept_and_made_anew_where_it_is_damaged(tmp_path, monkeypatch):
    project = three_rounds(tmp_path)
    first = measured(project)
    content = (project / "results" / "curve.json").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(module, "measure", None)
        assert measured(project) == first
    other = {**json.loads(content), "measured": {}}
    for damaged in ('{"key": 3}', json.dumps(other), content.decode().replace('"clusters": ', '"clusters": 1')):
        (project / "results" / "curve.json").write_text(damaged)
        assert measured(project) == first
        assert (project / "results" / "curve.json").read_bytes() == content


@pytest.mark.parametrize(("missing", "rounds", "images"), [(4, [2, 3], 8), (7, [3], 12)])
def test_an_audit_set_that_grew(tmp_path, missing, rounds, images):
    """The tasks of the audit set come first: those that are late are not in what round 2 is measured on."""
    project = three_rounds(tmp_path, back=lambda place: "untouched" if place < missing else "done")
    shutil.rmtree(project / "results" / "round3")
    run("import", answered(project, 1, later=60), "--folder", project)
    config = project / "round3" / "config.yaml"
    snapshot = read_json(project / "round3" / "snapshot.json")
    snapshot["audit"] = [{"id": image, "boxes": [[*CAR, 1]], "incomplete": []} for image in audit_of(project)]
    write_json(project / "round3" / "snapshot.json", snapshot)
    photo_project.compute(project, config.relative_to(project))
    write_json(detections(project, 3), found_in(audit_of(project), PARTS[3]))
    curve = measured(project)
    assert [one.round for one in curve.points] == rounds
    assert curve.images == images
    said = " ".join(curve.notes)
    assert ("4 of 12 pictures to measure by are not counted" in said) == (missing == 4)
    assert ("round 2 is left out: when it was opened, fewer than half of 12" in said) == (missing == 7)


def test_a_missing_picture_of_the_audit_set_is_called_so(tmp_path):
    project = three_rounds(tmp_path)
    gone = audit_of(project)[0]
    (tmp_path / load_project(project).files[gone]).unlink()
    run("next", "--folder", project, "--format", "label_studio")
    said = run("status", "--folder", project)
    assert "1 of 12 pictures to measure by are not counted: they are missing\n" in said
    assert "when a round was opened" not in said
    photo_project.photos(tmp_path / "photos", 1, first=int(load_project(project).files[gone][8:-4]))
    assert "1 of 12 pictures to measure by are not counted: they had no usable label, or" in run(
        "status", "--folder", project
    )


@pytest.mark.parametrize(
    "content",
    [
        '[{"image_id": 3}]',
        '[{"image_id": 3, "category_id": 1, "bbox": [1, 2, 3], "score": 0.5}]',
        '[{"image_id": 3, "category_id": 9, "bbox": [1, 2, 3, 4], "score": 0.5}]',
        '[{"image_id": 3, "category_id": 1, "bbox": [1, NaN, 3, 4], "score": 0.5}]',
        '[{"image_id": Infinity, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]',
        '{"image_id": 3}',
    ],
)
def test_results_that_are_damaged_or_deleted_are_left_out_with_a_line(tmp_path, content):
    project = three_rounds(tmp_path)
    detections(project, 2).write_text(content)
    curve = measured(project)
    assert [one.round for one in curve.points] == [3]
    assert f"round 2 is left out ({detections(project, 2)} or" in curve.notes[0]
    assert "mgral snakemake --cores all --configfile round2/config.yaml" in curve.notes[0]
    shutil.rmtree(project / "results" / "round3")
    curve = measured(project)
    assert curve.points == ()
    assert "No such file" in curve.notes[1]
    assert "round 3 is left out" in run("status", "--folder", project)


def test_no_audit_label_and_no_round(tmp_path):
    project = start(tmp_path, count=60, budget=60, batch=6)
    assert measured(project).points == ()
    run("next", "--folder", project, "--format", "label_studio")
    assert measured(project).notes == ()
    run(
        "import", answered(project, 1, state=lambda place: "untouched" if place < 12 else "done"), "--folder", project
    )
    run("next", "--folder", project, "--format", "label_studio")
    assert "round 2 has no score: no picture to measure by was labelled" in measured(project).notes[0]


def test_a_class_that_came_later_is_not_in_the_mean_and_two_that_were_merged_are_one(tmp_path):
    project = three_rounds(tmp_path)
    before = measured(project)
    run("classes", "merge", "car", "dog", "--into", "thing", "--folder", project)
    merged = measured(project)
    assert [one.scores for one in merged.points] == [one.scores for one in before.points]
    assert list(merged.points[0].by_class) == [3]
    run("classes", "add", "bus", "--folder", project)
    names = [load_project(project).files[image].partition("/")[2] for image in audit_of(project)]
    rows = {name: [(*CAR, "thing"), (30, 20, 9, 9, "bus")] for name in names}
    run("import", photo_project.coco_labels(tmp_path / "buses.json", rows), "--folder", project)
    added = measured(project)
    assert added.boxes == {3: 12, 4: 12}
    assert [one.scores for one in added.points] == [one.scores for one in before.points]
    assert [list(one.by_class) for one in added.points] == [[3], [3]]
    run("classes", "split", "thing", "--into", "cow", "--into", "cat", "--folder", project)
    assert measured(project).points == ()
    assert "round 3 is left out: it knew other classes" in measured(project).notes[-1]


def test_near_copies_count_together(tmp_path):
    project = three_rounds(tmp_path, "--video-names", r"/p(\d)")
    curve = measured(project)  # p1 and p10 to p19 are of one video, and so on: nine at most
    assert np.isnan(curve.points[0].scores["map"].interval.low)
    assert "no intervals: fewer than 10 different pictures" in curve.notes[-1]


def made_audit(copies, grouped):
    """Return two rounds on 20 scenes with a box each, some found; each scene is there some times."""
    rng = np.random.default_rng(3)
    found = rng.uniform(size=(2, 20)) < [[0.4], [0.7]]
    scores = rng.permutation(40).reshape(2, 20) / 40
    images = [(20 * copy + scene, scene) for copy in range(copies) for scene in range(20)]
    rounds = [
        EvaluatedRound(
            round=number,
            learnt=(),
            images=frozenset(image for image, _ in images),
            today={1: 1},
            classes=frozenset({1}),
            detections=tuple(
                {
                    "image_id": image,
                    "category_id": 1,
                    "bbox": CAR if found[place, scene] else [30, 20, 9, 9],
                    "score": scores[place, scene],
                }
                for image, scene in images
            ),
            digest="",
        )
        for place, number in enumerate((2, 3))
    ]
    return Audit(
        rounds=tuple(rounds),
        images=tuple(image for image, _ in images),
        truth=tuple({"image_id": image, "category_id": 1, "bbox": CAR} for image, _ in images),
        unasked={},
        classes=(1,),
        groups=tuple((scene, scene + 20) for scene in range(20)) if grouped else (),
        notes=(),
    )


def test_near_copies_that_are_known_make_nothing_surer():
    once, known, unknown = (module.measure(made_audit(*given)) for given in ((1, False), (2, True), (2, False)))
    for name in ("map", "ap50"):
        for one, other in zip(once["scores"][name], known["scores"][name], strict=True):
            assert other == pytest.approx(one, abs=1e-9)
        assert known["gains"][name][0] == pytest.approx(once["gains"][name][0], abs=1e-9)
        assert known["scatter"][name] == pytest.approx(once["scatter"][name])
        (_, low, high), (_, least, most) = known["scores"][name][0], unknown["scores"][name][0]
        assert 1.2 < (high - low) / (most - least) < 1.7  # the square root of 2, about


def test_the_scatter_of_a_round_leaves_out_what_rounds_share():
    """Half of the variance of the difference of two rounds."""
    audit = made_audit(1, grouped=False)
    units = [(image,) for image in audit.images]
    weights = module.resampled_weights(audit.images, units, derive_seed(0, "project", "curve"))
    first, second = (
        module.match_class(audit.truth, one.detections, audit.images, 1).average_precision(weights)[0, 1:]
        for one in audit.rounds
    )
    assert module.measure(audit)["scatter"]["ap50"] == pytest.approx(np.sqrt((first - second).var() / 2))
