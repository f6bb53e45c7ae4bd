"""Whether to go on: the advice and its rule, what status says, and the page."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import photo_project
import pytest
from photo_project import answered, run, start

from mgral.artefacts.files import write_json
from mgral.evaluation.intervals import Interval
from mgral.labelling import running
from mgral.labelling.progress.advice import Progress, advice, progress_lines
from mgral.labelling.progress.curve import Curve, Point, Score
from mgral.labelling.progress.effort import Accepted, Effort, Times
from mgral.labelling.progress.forecast import fit_law
from mgral.labelling.settings import ProjectSettings

TIMES = Times({1: (30.0,), 2: (60.0, None)}, left_open=1, boxes=9)


def made(scores, target=None, pictures=None, left=100, width=0.02, **more):
    """Return how a project is getting on whose detectors have scores, with 40 pictures more in each round."""
    pictures = pictures or [40 * place for place in range(1, len(scores) + 1)]
    points = tuple(
        Point(place + 2, count, 3 * count, None, {"map": Score(value, Interval(value - width, value + width))}, {})
        for place, (count, value) in enumerate(zip(pictures, scores, strict=True))
    )
    gains = tuple(Score(after - before, Interval(-0.01, 0.05)) for before, after in pairwise(scores))
    curve = Curve(points, {"map": gains}, {"map": 0.0}, (0.5,) * len(gains), 60, {1: 200}, ())
    law = fit_law(pictures, scores, 0.0)
    labelled = max(pictures, default=0)
    expected = tuple(law.at(labelled + more, labelled) for more in (40, 80, 120)) if law else ()
    found = Progress("map", target, curve, Effort(TIMES), labelled, left, law, expected)
    return replace(found, **more)


FLAT = [0.3, 0.302, 0.298, 0.301, 0.3, 0.299, 0.3, 0.301, 0.3]
STEEP = [0.1, 0.2, 0.27, 0.32, 0.36]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (made([]), "no round has a score yet"),
        (made([0.1, 0.2]), "continue: 2 of the 3 rounds that a forecast needs have a score"),
        (
            made(FLAT),
            "stop, unless a point is worth it to you: the next 120 pictures (1.5 hours) add 0.0 points of mAP (",
        ),
        (made(FLAT[:4]), "more labels likely bring little: the next 120 pictures (1.5 hours) add"),
        (made(STEEP), "continue: the next 120 pictures (1.5 hours) add"),
        (made([0.2, 0.24, 0.25]), "continuing likely pays off: the next 120 pictures (1.5 hours) add"),
        (made(FLAT, target=0.25), "the target of 25.0 % mAP is reached"),
        (made(STEEP, target=0.35), "the target of 35.0 % mAP may be reached: the score's interval contains it"),
        (made(STEEP, target=0.35, width=math.nan), "the target of 35.0 % mAP may be reached: there is no interval"),
        (made(STEEP, expected=()), "no picture is left to label"),
    ],
)
def test_the_advice_follows_its_rule(found, said):
    assert advice(found).startswith(said)


def test_lines_for_a_terminal():
    found = made(STEEP[:3], target=0.3, effort=Effort(TIMES, {3: Accepted(3, 1, 1, 2), 4: Accepted(0, 0, 0, 5)}))
    lines = progress_lines(found)
    assert lines[0] == "mAP of the rounds in %, on 60 pictures with today's labels (95 % intervals):"
    assert lines[1] == "  round 2, of   40 pictures:  10.0 (8.0 to 12.0)"
    assert lines[2].startswith("  round 3, of   80 pictures:  20.0 (18.0 to 22.0); +10.0 (-1.0 to +5.0) to the one ")
    assert lines[2].endswith("before; 50 % of the boxes agree")
    said = "\n".join(lines[4:])
    assert re.search(r"^forecast of mAP: [\d.]+ \([\d.]+ to [\d.]+\) of 160 pictures, ", said, re.MULTILINE)
    assert "proposed boxes that people left as they were: 60 % of 5 in round 3\n" in said
    # 30 and 60 s, and their mean for the third: 135 s of 3 labels with 9 boxes.
    assert "labelling: 0.0 hours so far, 45 s a picture, 15 s a box; 1.2 hours for the 100 pictures" in said
    assert (
        "1 of 3 labels have no time, or that of a page that was left open (1), and count as the mean of the others"
        in said
    )
    assert re.search(r"^to 30.0 % mAP: \d+ more pictures \(\d+ to ([\d,]+|never)\), [\d.]+ hours", said, re.MULTILINE)
    assert lines[-1].startswith("advice: ")


def test_a_target_beyond_the_curve_and_one_that_is_near():
    far = "\n".join(progress_lines(made(FLAT, target=0.9)))
    assert "to 90.0 % mAP: beyond what this curve can predict\n" in far
    assert "to 25" not in "\n".join(progress_lines(made(FLAT, target=0.25)))


def test_without_times_there_are_no_hours():
    lines = progress_lines(made(STEEP, effort=Effort(Times({1: (None,), 2: (None,)}, 0, 3))))
    assert "hours of labelling: unknown, because fewer than half of the labels have a time" in lines
    assert not any("hours for" in line for line in lines)
    nothing = progress_lines(made(STEEP, effort=Effort(Times({}, 0, 0))))
    assert not any("labelling" in line for line in nothing)


@pytest.mark.parametrize("target", [{}, {"map": 40, "ap50": 60}, {"map": 0}, {"ap50": 101}, {"recall": 50}])
def test_targets_that_are_refused(target):
    with pytest.raises(ValueError, match="target"):
        ProjectSettings(project="p", pictures={"a": "b"}, budget=9, batch=3, target=target)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a project with three rounds whose detectors find more and more."""
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    project = start(tmp_path, count=80, budget=70, batch=8)
    for number in range(1, 5):
        run("next", "--folder", project, "--format", "label_studio")
        if number > 1:
            place = project / "results" / f"round{number}" / f"seed{number}" / "initial" / "cycle0"
            audit = photo_project.read_json(place / "detections.json")
            write_json(place / "detections.json", audit[: 3 * number])
        run("import", answered(project, number), "--folder", project)
    return project


def test_status_and_page_of_a_project(project):
    said = run("status", "--folder", project)
    assert "mAP of the rounds in %, on 14 pictures with today's labels" in said
    assert "forecast of mAP: " in said
    assert re.search(r"^advice: .*mAP", said, re.MULTILINE)
    assert run("report", "--folder", project) == f"{project / 'report.html'}\n"
    page = (project / "report.html").read_text()
    assert "nan" not in page.lower().replace("finance", "")
    assert page.count("<figure>") == 5
    assert '<a href="round4/sheet.html">4</a>' in page
    assert "http" not in page.replace("http://www.w3.org", "")
    run("report", "--folder", project)
    assert (project / "report.html").read_text() == page


def test_page_of_a_project_that_has_just_begun(tmp_path):
    project = start(tmp_path)
    run("report", "--folder", project)
    page = (project / "report.html").read_text()
    assert "There is no round yet." in page
    assert "<figure>" not in page


def test_the_status_needs_neither_torch_nor_matplotlib(project):
    code = (
        "import sys; from click.testing import CliRunner; from mgral.cli.tools.project import command; "
        f"done = CliRunner().invoke(command, ['status', '--folder', {str(project)!r}]); "
        "assert 'advice' in done.output, done; print({'torch', 'matplotlib', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_an_audit_set_without_objects(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    project = start(tmp_path, count=80, budget=70, batch=8)
    for number in (1, 2):
        run("next", "--folder", project, "--format", "label_studio")
        run(
            "import",
            answered(project, number, boxes=[] if number == 1 else [(1.0, 2.0, 9.0, 9.0, "car")]),
            "--folder",
            project,
        )
    assert "advice: no round has a score yet, so there is no advice" in run("status", "--folder", project)
    run("report", "--folder", project)
    assert "too few boxes" in (project / "report.html").read_text()


def test_a_project_without_audit_and_test_set_has_no_curve_and_one_line_on_that(tmp_path, monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    project = start(tmp_path, count=80, budget=70, batch=8)
    settings = project / "project.yaml"
    settings.write_text(settings.read_text().replace("audit: null", "audit: 0"))
    for number in (1, 2):
        run("next", "--folder", project, "--format", "label_studio")
        run("import", answered(project, number), "--folder", project)
    said = run("status", "--folder", project)
    assert "advice" not in said
    assert said.count("there is no audit or test set") == 1
    run("report", "--folder", project)
    assert "There is no audit or test set; cross-validation" in (project / "report.html").read_text()
