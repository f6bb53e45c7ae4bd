"""Push and pull with a real Label Studio: states, people, pictures, both kinds of tokens, and a look at a task."""

import json
import os
import shutil
import subprocess
import time

import photo_project
import pytest
from installed_command import MGRAL
from photo_project import FOUND, SIZE, answered, photos, run, start
from run_workflow import ROOT

from benchmarks.label_studio_people import People, region_of
from benchmarks.label_studio_server import EMAIL, HOME, PASSWORD, READY, TOKEN, label_studio
from mgral.labelling import running
from mgral.labelling.servers.label_studio_pictures import MOST_FILES
from mgral.labelling.state import load_project

pytestmark = [
    pytest.mark.skipif(not READY.exists(), reason="no Label Studio: make label-studio installs it for this test"),
    pytest.mark.timeout(1200),
]
LOOK = ROOT / "tests" / "support" / "label_studio_browser.py"
BROWSER = shutil.which("chromium")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with projects, whose pictures the server may read."""
    return tmp_path_factory.mktemp("people")


@pytest.fixture(scope="module")
def people(place):
    """People at a Label Studio that was just started."""
    with label_studio(place / "label-studio", place / "projects") as server:
        yield People(server.url)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)


def begin(place, name):
    """Make a project with its first round."""
    project = start(place / "projects" / name)
    run("next", "--folder", project, "--format", "label_studio")
    return project


def push(project, people, *options):
    said = run("push", "--folder", project, "--to", "label-studio", "--url", people.url, *options)
    (there,) = load_project(project).pushed.values()
    return said, there.id


def box(label, left):
    """A region of half the picture's width, whose left side is at so many percent."""
    width, height = SIZE
    return region_of([left * width / 100, height / 2, width / 2, height / 4], label, SIZE, "r1")


def ledger(project):
    return (project / "ledger.jsonl").read_bytes()


def test_two_rounds_with_all_that_people_do(place, people):
    project = begin(place, "rounds")
    said, number = push(project, people)
    assert "8 pictures sent\n" in said
    assert "uploaded" not in said
    second = people.join("two")
    corrected, empty, skipped, draft, both, *untouched = people.tasks(number)
    assert len(untouched) == 3
    people.submit(corrected, [box("car", 25.0)], lead_time=4.5)
    people.submit(empty, [])
    people.submit(skipped, [], was_cancelled=True)
    people.begin(draft, [box("car", 0.0)])
    people.submit(both, [box("car", 0.0)])
    people.submit(both, [box("dog", 50.0)], completed_by=second)
    said = run("pull", "--folder", project)
    assert "of them 1 draft, 1 skipped" in said
    assert "3 not checked" in said
    found = load_project(project)

    def image(task):
        return found.images[task["data"]["mgral_id"]]

    assert [image(task).state for task in (corrected, empty, skipped, draft, both)] == [
        *("labelled", "empty", "skipped", "draft", "labelled")
    ]
    assert {image(task).state for task in untouched} == {"sent"}
    label = image(corrected).confirmed
    assert label.boxes == ((12.0, 18.0, 24.0, 9.0, 1),)
    assert label.seconds == 4.5
    assert label.at > "2026"
    assert {by: one.boxes[0][4] for by, one in image(both).labels.items()} == {label.by: 1, str(second): 2}
    before = ledger(project)
    assert "0 pictures sent, 8 were there" in push(project, people)[0]
    run("pull", "--folder", project)
    assert ledger(project) == before

    for task in untouched:
        people.submit(task, [box("dog", 0.0)])
    run("pull", "--folder", project)
    assert "or send them: mgral project push" in run("next", "--folder", project, "--format", "label_studio")
    assert "4 pictures sent" in run("push", "--folder", project)
    fresh = people.tasks(number)[8:]
    assert [task["data"]["mgral_rank"] for task in fresh] == [1, 2, 3, 4]
    first = fresh[0]
    (region,) = first["predictions"][0]["result"]
    people.submit(first, [{**region, "id": "mine"}])
    run("pull", "--folder", project)
    found = load_project(project)
    assert image(first).confirmed.boxes == ((*FOUND, 1),) == image(first).sent_boxes
    assert found.counts()["sent"] == 3


def test_pictures_are_served_or_uploaded_and_the_server_gives_their_bytes(place, people):
    """Whatever their names are."""
    for way in ("serve", "upload"):
        odd = photos(place / "projects" / way / "photos", 36)
        for number, name in enumerate(("a b#%ä+&.png", "a_b.png", f"{'x' * 90}.png"), start=31):
            (odd / f"p{number}.png").rename(odd / name)
        project = begin(place, way)
        _, number = push(project, people, "--pictures", way)
        tasks, files = people.tasks(number), load_project(project).files
        names = [load_project(project).files[task["data"]["mgral_id"]].rpartition("/")[2] for task in tasks]
        assert len(names) == 8
        assert "a b#%ä+&.png" in names
        for task in tasks:
            path = project.parent / files[task["data"]["mgral_id"]]
            assert people.content(task["data"]["image"]) == path.read_bytes()
        people.submit(tasks[0], [box("car", 0.0)])
        assert "1 new" in run("pull", "--folder", project)


def test_personal_access_tokens_and_refused_ones(place, people, monkeypatch):
    project = begin(place, "tokens")
    token = people.ask("POST", "/api/token/")["token"]
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    assert "8 pictures sent" in push(project, people)[0]
    for wrong in (token[:-4] + "AAAA", "0" * 40):
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", wrong)
        said = run("pull", "--folder", project, fails=2)
        assert "refuses the token in LABEL_STUDIO_API_KEY" in said
        assert wrong not in said


def test_classes_that_came_later_and_a_project_that_is_gone(place, people):
    project = begin(place, "changes")
    _, number = push(project, people)
    people.submit(people.tasks(number)[0], [box("dog", 0.0)])
    run("classes", "add", "cat", "--folder", project)
    run("classes", "rename", "dog", "hound", "--folder", project)
    assert "new in the labelling interface: hound, cat" in run("push", "--folder", project)
    people.submit(people.tasks(number)[1], [box("cat", 0.0)])
    assert "2 new" in run("pull", "--folder", project)
    people.ask("DELETE", f"/api/tasks/{people.tasks(number)[3]['id']}")
    assert "1 picture of round 1 is on no server" in run("pull", "--folder", project)
    assert "1 picture sent, 7 were there" in run("push", "--folder", project)
    people.ask("DELETE", f"/api/projects/{number}")
    assert "mgral project push --anew" in run("pull", "--folder", project, fails=2)
    assert "6 pictures sent" in run("push", "--folder", project, "--anew")
    assert load_project(project).counts()["labelled"] == 2


def test_a_server_killed_in_the_middle_has_everything_once_in_the_end(place):
    project = start(place / "projects" / "killed", count=120, budget=120, batch=90)
    run("next", "--folder", project, "--format", "label_studio")
    words = ["push", "--folder", project, "--to", "label-studio", "--pictures", "upload"]
    with label_studio(place / "killed", place / "projects") as server:
        pushing = subprocess.Popen([MGRAL, "project", *words, "--url", server.url], stderr=subprocess.PIPE, text=True)
        media = place / "killed" / "media" / "upload"
        while pushing.poll() is None and len([*media.rglob("*.png")]) < 50:
            time.sleep(0.01)
        server.process.kill()
        assert "run the same command again" in pushing.communicate()[1]
        assert pushing.returncode == 1
    with label_studio(place / "killed", place / "projects") as server:
        people = People(server.url)
        said = run(*words, "--url", server.url)
        (there,) = people.ask("GET", "/api/projects")["results"]
        assert [task["data"]["mgral_rank"] for task in people.tasks(there["id"])] == [*range(1, 115)]
    assert "114 pictures sent" in said
    assert len([*media.rglob("*.png")]) < 114 + MOST_FILES  # of the request that was cut off, some may be there twice


@pytest.mark.skipif(BROWSER is None, reason="no browser: apt install chromium")
def test_a_person_sees_the_first_task_with_its_proposed_box_in_the_right_place(place, people):
    """In a browser; the picture of it stays beside Label Studio, to be looked at."""
    project = begin(place, "seen")
    run("import", "--folder", project, answered(project, 1))
    run("next", "--folder", project, "--format", "label_studio")
    _, number = push(project, people)
    shot = HOME / "task.png"
    done = subprocess.run(
        [HOME / "venv" / "bin" / "python", LOOK, BROWSER, f"{people.url}/projects/{number}/data?labeling=1", shot],
        env={**os.environ, "EMAIL": EMAIL, "PASSWORD": PASSWORD},
        text=True,
        capture_output=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["task"] == people.tasks(number)[0]["id"]
    assert seen["labels"] == [["car"]]
    scale = seen["shown"]["width"] / SIZE[0]
    (drawn,) = seen["drawn"]
    assert [drawn[key] for key in ("x", "y", "width", "height")] == pytest.approx([scale * v for v in FOUND], abs=1.0)
