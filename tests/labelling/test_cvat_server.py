"""Push to a CVAT and pull from it, against a stand-in that speaks the SDK's schema; not tried on a real server."""

import csv
import shutil
from pathlib import Path

import photo_project
import pytest
import urllib3
from cvat_sdk import models
from cvat_server import PASSWORD, TOKEN, USER, serve_cvat
from cvat_state import checked
from photo_project import FOUND, run, start

from mgral.labelling import running
from mgral.labelling.ledger import read_ledger
from mgral.labelling.servers import cvat, cvat_session
from mgral.labelling.state import load_project

CAR = (2.0, 3.0, 20.0, 10.0, "car")
DOG = (8.0, 9.0, 12.0, 6.0, "dog")


@pytest.fixture(autouse=True)
def _fast(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    monkeypatch.setattr(urllib3.util.Retry, "sleep", lambda *_: None)
    monkeypatch.setattr(cvat_session, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(cvat, "JOB", 3)
    for name in (cvat_session.USER, cvat_session.PASSWORD, cvat_session.ORGANIZATION):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(cvat_session.TOKEN, TOKEN)


@pytest.fixture
def server():
    with serve_cvat() as found:
        yield found


@pytest.fixture
def project(tmp_path):
    """A project with a round of 8 pictures out: on the server three jobs, of 3, 3 and 2."""
    folder = start(tmp_path)
    next_round(folder)
    return folder


def next_round(project, *options):
    run("next", "--folder", project, "--format", "cvat", *options)


def push(project, server, *options, fails=0):
    said = run("push", "--folder", project, "--to", "cvat", "--url", server.url, *options, fails=fails)
    assert TOKEN not in said
    assert PASSWORD not in said
    return said


def pull(project, *options, fails=0):
    said = run("pull", "--folder", project, *options, fails=fails)
    assert TOKEN not in said
    return said


def ranked(folder):
    """The names of a share's pictures, best first."""
    with (folder / "selection.csv").open(encoding="utf-8-sig", newline="") as file:
        return [row["file"] for row in csv.DictReader(file)]


def state_of(project, name):
    found = load_project(project)
    return next(found.images[image] for image, file in found.files.items() if Path(file).name == name)


def label_of(project, name):
    (label,) = state_of(project, name).labels.values()
    return label


def finish(server, task, by=USER):
    for job in server.jobs_of(task):
        server.set_job(job["id"], state="completed", assignee={"username": by})


def second_round(project, server):
    """Label a car in each picture of the first round, and open the next, which has boxes that a detector found."""
    push(project, server)
    for name in server.shown(11):
        server.label(name, [CAR])
    finish(server, 11)
    pull(project)
    next_round(project)


def test_a_round_is_a_task_with_its_pictures_in_rank_order_and_pushing_it_again_changes_nothing(project, server):
    said = push(project, server)
    assert "8 pictures sent" in said
    assert f"{server.url}/tasks/11: 3 jobs" in said
    (there,) = server.projects.values()
    assert there["name"] == f"mine (mgral {load_project(project).id[:13]})"
    assert there["names"] == ["car", "dog"]
    assert list(server.shown(11)) == ranked(project / "round1")
    assert list(server.shown(11)) != sorted(server.shown(11))
    assert [(job["start_frame"], job["stop_frame"]) for job in server.jobs_of(11)] == [(0, 2), (3, 5), (6, 7)]
    before, changed = read_ledger(project), list(server.changed)
    assert "0 pictures sent, 8 were there" in push(project, server)
    assert server.changed == changed
    assert read_ledger(project) == before


def test_a_round_of_a_detector_has_its_boxes_there_just_as_they_were_written(project, server):
    second_round(project, server)
    push(project, server)
    assert list(server.shown(12)) == ranked(project / "round2")
    assert set(map(tuple, server.shown(12).values())) == {((*FOUND, "car", "file"),)}
    changed = list(server.changed)
    push(project, server)
    assert server.changed == changed


def test_only_completed_jobs_come_back_and_there_a_picture_without_boxes_is_empty(project, server):
    push(project, server)
    names = list(server.shown(11))
    server.label(names[0], [CAR, DOG])
    server.label(names[4], [CAR])  # of the second job, which is not completed
    server.set_job(101, state="completed", assignee={"username": "bob"})
    server.set_job(102, state="in progress")
    said = pull(project)
    assert "1 of 3 jobs are completed, and not read: 1 in progress, 1 new" in said
    assert [state_of(project, name).state for name in names] == ["labelled", "empty", "empty", *5 * ["sent"]]
    found = label_of(project, names[0])
    assert found.boxes == ((2.0, 3.0, 20.0, 10.0, 1), (8.0, 9.0, 12.0, 6.0, 2))
    assert found.by == "bob"
    assert found.at == server.jobs[101]["updated_date"][:19] + "+00:00"
    server.set_job(102, state="rejected")
    server.set_job(103, state="completed", stage="validation")
    pull(project)
    assert [state_of(project, name).state for name in names[3:]] == [*3 * ["sent"], "empty", "empty"]


def test_boxes_that_were_accepted_as_they_are_count_once_their_job_is_completed(project, server):
    second_round(project, server)
    push(project, server)
    names = list(server.shown(12))
    pull(project)
    assert {state_of(project, name).state for name in names} == {"sent"}
    server.label(names[1], [])
    finish(server, 12)
    pull(project)
    states = [state_of(project, name).state for name in names]
    assert states == ["labelled", "empty", *["labelled"] * (len(names) - 2)]
    assert label_of(project, names[0]).boxes == ((*FOUND, 1),)


def test_pulling_again_changes_nothing_and_the_saved_file_names_nobody_by_their_address(project, server):
    push(project, server)
    finish(server, 11)
    pull(project)
    (saved,) = (project / "pulled").rglob("*.zip")
    before, content = read_ledger(project), saved.read_bytes()
    pull(project)
    assert saved.read_bytes() == content
    assert read_ledger(project) == before
    shutil.unpack_archive(saved, project / "unpacked")
    texts = [path.read_text() for path in (project / "unpacked").iterdir()]
    assert len(texts) == 3
    assert not any("@" in text or "dumped" in text for text in texts)


def test_a_correction_replaces_what_was_pulled(project, server):
    push(project, server)
    name = next(iter(server.shown(11)))
    server.label(name, [CAR])
    finish(server, 11)
    pull(project)
    server.label(name, [DOG])
    pull(project)
    assert label_of(project, name).boxes == ((8.0, 9.0, 12.0, 6.0, 2),)


@pytest.mark.parametrize("fault", ["drop", "lost"])
def test_whichever_request_of_a_push_is_the_last_the_same_command_ends_with_the_same_tasks(project, server, fault):
    second_round(project, server)
    before = len(server.asked)
    push(project, server)
    whole = server.shown(12)
    methods = [what.split(" ")[1] for what in server.asked[before:]]
    places = [place for place, method in enumerate(methods) if method != "GET"]  # which are asked again at once
    assert len(places) == 8
    for place in places:
        server.remove_task(max(server.tasks))
        server.faults = [(f"^#{len(server.asked) + place} ", fault)]
        if methods[place] == "PATCH":  # a part of a file, which the SDK sends again
            push(project, server)
        else:
            assert "stopped in the middle" in push(project, server, fails=1)
        assert not server.faults
        push(project, server)
        assert [task["name"] for task in server.tasks.values()] == ["mine, round 1", "mine, round 2"]
        assert server.shown(max(server.tasks)) == whole
        assert len(server.projects) == 1


def test_a_project_that_was_made_but_not_answered_for_is_found_again(project, server):
    server.page = 1
    server.faults = [("POST /api/projects", "lost")]
    assert "stopped in the middle" in push(project, server, fails=1)
    assert not load_project(project).pushed
    push(project, server)
    assert list(server.projects) == [7]
    assert list(server.tasks) == [11]


def test_proposed_boxes_are_not_uploaded_over_what_somebody_has_begun(project, server):
    second_round(project, server)
    server.faults = [("POST /api/tasks/12/annotations/ Upload-Start", "drop")]
    push(project, server, fails=1)
    server.set_job(server.jobs_of(12)[0]["id"], state="in progress")
    assert "somebody began: they are left out" in push(project, server)
    assert not any(server.shown(12).values())
    server.label(next(iter(server.shown(12))), [DOG])
    changed = list(server.changed)
    push(project, server)
    assert server.changed == changed


def test_a_server_whose_workers_rest_is_told_of_and_the_same_command_waits_for_what_they_have_to_do(
    project, server, monkeypatch
):
    monkeypatch.setattr(cvat_session, "STANDSTILL", 0.05)
    server.workers = "rest"
    assert "no progress" in push(project, server, fails=1)
    assert "no progress" in push(project, server, fails=1)
    server.workers = "run"
    assert "8 were there" in push(project, server)
    assert list(server.tasks) == [11]


def test_pictures_that_the_server_could_not_take_are_sent_again(project, server):
    server.workers = "fail"
    said = push(project, server, fails=1)
    assert "could not take the pictures (the disk is full)" in said
    server.workers = "run"
    assert "8 pictures sent" in push(project, server)
    assert [task["name"] for task in server.tasks.values()] == ["mine, round 1"]


def test_a_slow_server_is_not_waited_for_for_ever(project, server, monkeypatch):
    monkeypatch.setattr(cvat_session, "ANSWER", 0.1)
    server.faults = [("POST /api/tasks$", "stall")]
    assert "does not answer" in push(project, server, fails=1)
    push(project, server)
    assert list(server.tasks) == [11]


@pytest.mark.parametrize(
    ("pattern", "fault", "code", "words"),
    [
        ("about", "page", 2, "does not answer as a CVAT"),
        ("about", 404, 2, "is it a CVAT"),
        ("POST /api/tasks$", "page", 2, "it is version 2.80.0; install the cvat-sdk of that version"),
        ("self", 401, 2, "refuses the login of CVAT_ACCESS_TOKEN"),
        ("projects", 403, 2, "refuses (403"),
        ("projects", 500, 1, "fails (500"),
        ("POST /api/tasks$", 429, 1, "later"),
        ("Upload-Finish", 400, 2, "refuses (400: no, says ***"),
        ("Upload-Finish", "cut", 1, "stopped in the middle"),
    ],
)
def test_what_a_server_refuses_or_fails_at_is_told_without_a_secret(project, server, pattern, fault, code, words):
    server.faults = [(pattern, fault)]
    assert words in push(project, server, fails=code)
    assert "8 pictures sent" in push(project, server) or pattern == "Upload-Finish"
    assert list(server.shown(max(server.tasks))) == ranked(project / "round1")


def test_a_login_by_password_works_and_a_wrong_one_or_none_is_told(project, server, monkeypatch):
    monkeypatch.delenv(cvat_session.TOKEN)
    assert "there is no login for CVAT: set CVAT_ACCESS_TOKEN" in push(project, server, fails=2)
    monkeypatch.setenv(cvat_session.USER, USER)
    monkeypatch.setenv(cvat_session.PASSWORD, PASSWORD + "x")
    said = push(project, server, fails=2)
    assert "refuses the login of CVAT_USERNAME and CVAT_PASSWORD (400" in said
    monkeypatch.setenv(cvat_session.PASSWORD, PASSWORD)
    assert "8 pictures sent" in push(project, server)
    monkeypatch.setenv(cvat_session.TOKEN, "another")
    assert "refuses the login of CVAT_ACCESS_TOKEN (401" in pull(project, fails=2)


def test_no_secret_is_in_the_project_or_in_what_a_session_shows_of_itself(project, server):
    push(project, server)
    finish(server, 11)
    pull(project)
    files = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in repr(cvat_session.Login.from_environment(server.url))


def test_a_server_that_was_stopped_is_told(project, server):
    push(project, server)
    url = server.url.rpartition(":")[0] + ":1"
    said = run("push", "--folder", project, "--to", "cvat", "--url", url, fails=1)
    assert "does not answer" in said


def test_a_project_of_an_organization_is_asked_for_with_its_name(project, server, monkeypatch):
    monkeypatch.setenv(cvat_session.ORGANIZATION, "farm")
    push(project, server)
    assert server.organizations == {"farm", None}  # the SDK asks by number where it knows the project
    assert "/api/projects" in " ".join(server.changed)


def test_a_deleted_project_is_told_and_made_anew_only_when_asked(project, server):
    push(project, server)
    finish(server, 11)
    server.projects.clear()
    before = read_ledger(project)
    assert "/projects/7, which this project was pushed to, is not there any more" in pull(project, fails=2)
    assert "--anew" in push(project, server, fails=2)
    assert read_ledger(project) == before
    server.tasks.clear()
    assert "8 pictures sent" in push(project, server, "--anew")
    assert [task["project_id"] for task in server.tasks.values()] == list(server.projects)


def test_a_deleted_task_is_told_by_a_pull_and_sent_again_by_a_push(project, server):
    push(project, server)
    assert "on no server" not in pull(project)
    server.remove_task(11)
    assert "8 pictures of round 1 are on no server" in pull(project)
    assert "8 pictures sent" in push(project, server)


def test_another_project_that_has_the_number_of_a_lost_one_is_left_alone(project, server):
    push(project, server)
    server.remove_task(11)
    server.projects[7]["name"] = "of somebody else"
    changed = list(server.changed)
    assert "or it is another's" in push(project, server, fails=2)
    assert "or it is another's" in pull(project, fails=2)
    assert server.changed == changed
    assert "8 pictures sent" in push(project, server, "--anew")
    assert server.tasks[11]["project_id"] == 8


def test_a_task_and_a_project_that_somebody_renamed_are_known_by_their_number_and_pictures(project, server):
    push(project, server)
    server.projects[7]["name"] = "okra"
    server.tasks[11]["name"] = "for bob"
    assert "8 were there" in push(project, server)
    assert (len(server.projects), len(server.tasks)) == (1, 1)
    finish(server, 11)
    assert "on no server" not in pull(project)
    assert load_project(project).counts()["empty"] == 8


def test_a_task_of_our_name_with_other_pictures_is_refused_until_it_is_called_otherwise(project, server):
    push(project, server)
    server.frames[11] = server.frames[11][:5]
    assert "has other pictures than were written for it" in push(project, server, fails=2)
    server.tasks[11]["name"] = "something else"
    assert "8 pictures sent" in push(project, server)


def test_of_tasks_that_were_made_by_hand_only_pictures_of_the_project_are_taken(project, server):
    push(project, server)
    frames = [{**one, "boxes": []} for one in server.frames[11][:2]]
    server.tasks[12] = {**server.tasks[11], "id": 12, "name": "by hand"}
    server.frames[12] = [{**frames[0], "name": "a stranger.png"}, *frames]
    server.jobs[200] = {**server.jobs[101], "id": 200, "task_id": 12, "state": "completed"}
    said = pull(project)
    assert "1 pictures there are not of this project; left out" in said
    assert load_project(project).counts()["empty"] == 2


def test_labels_that_somebody_deleted_are_made_again_and_others_are_told_and_stay(project, server):
    push(project, server)
    server.projects[7]["names"] = ["car", "cat"]
    said = push(project, server)
    assert server.projects[7]["names"] == ["car", "cat", "dog"]
    assert "labels there that are no classes of this project today: cat" in said
    name = next(iter(server.shown(11)))
    server.label(name, [(*CAR[:4], "cat")])
    finish(server, 11)
    assert "Classes are not of this project" in pull(project, fails=2)
    assert load_project(project).counts()["sent"] == 8
    pull(project, "--rename", "cat=car")
    assert label_of(project, name).boxes == ((2.0, 3.0, 20.0, 10.0, 1),)


def test_boxes_of_a_class_that_was_renamed_meanwhile_have_its_new_name_there(project, server):
    second_round(project, server)
    run("classes", "rename", "car", "van", "--folder", project)
    push(project, server)
    assert {box[4] for boxes in server.shown(12).values() for box in boxes} == {"van"}


def test_boxes_of_a_class_that_was_split_meanwhile_are_left_out(project, server):
    second_round(project, server)
    run("classes", "split", "car", "--into", "van", "--into", "bus", "--folder", project)
    assert "4 proposed boxes are left out" in push(project, server)
    assert not any(server.shown(12).values())
    assert server.projects[7]["names"] == ["car", "dog", "van", "bus"]


def test_pictures_that_were_removed_there_stay_sent(project, server):
    push(project, server)
    server.frames[11][1]["deleted"] = True
    finish(server, 11)
    assert "1 pictures were removed" in pull(project)
    assert load_project(project).counts()["sent"] == 1


def test_a_job_that_is_opened_again_while_it_is_read_is_not_taken(project, server):
    push(project, server)
    finish(server, 11)
    server.faults = [("/jobs/102/dataset/download", lambda: server.set_job(102, state="in progress"))]
    assert "1 jobs were changed while they were read; pull again" in pull(project)
    assert load_project(project).counts()["empty"] == 5


def test_a_pull_that_stops_in_the_middle_imports_nothing_and_the_next_takes_all(project, server):
    push(project, server)
    finish(server, 11)
    before = read_ledger(project)
    for fault in [("/jobs/102/dataset/download", "cut"), ("POST /api/jobs/103", "drop")]:
        server.faults = [fault]
        assert "stopped in the middle" in pull(project, fails=1)
        assert read_ledger(project) == before
        assert not list((project / "pulled").rglob("*.zip"))
    pull(project)
    assert load_project(project).counts()["empty"] == 8


def test_people_have_a_task_each_in_one_project_and_a_picture_of_two_has_two_labels(tmp_path, server):
    folder = start(tmp_path)
    next_round(folder, "--people", "2", "--shared", "0.25")
    push(folder, server)
    assert [task["name"] for task in server.tasks.values()] == ["mine, round 1, person1", "mine, round 1, person2"]
    assert len(server.projects) == 1
    shares = [ranked(folder / "round1" / f"person{number}") for number in (1, 2)]
    assert [list(server.shown(task)) for task in (11, 12)] == shares
    both = sorted(set(shares[0]) & set(shares[1]))
    assert len(both) == 2
    for name in {*shares[0], *shares[1]}:
        server.label(name, [CAR])
    finish(server, 11, by="bob")
    for job in server.jobs_of(12):
        server.set_job(job["id"], state="completed")
    said = pull(folder)
    assert said.count("jobs are completed") == 1
    assert set(state_of(folder, both[0]).labels) == {"bob", "person2"}
    assert load_project(folder).counts()["labelled"] == 8


def test_pictures_to_look_at_again_are_a_task_of_their_own(project, server, tmp_path):
    second_round(project, server)
    run("classes", "add", "cat", "--folder", project)
    again = tmp_path / "again"
    run("again", again, "--folder", project, "--format", "cvat")
    said = push(project, server, again)
    assert "8 pictures sent" in said
    assert "8 were there" in push(project, server, again)
    assert set(map(tuple, server.shown(12).values())) == {((*CAR, "file"),)}
    assert server.projects[7]["names"] == ["car", "dog", "cat"]
    finish(server, 12)
    pull(project)
    found = load_project(project)
    assert not any(found.incomplete(one.confirmed) for one in found.images.values() if one.confirmed)


def test_what_cannot_be_sent_is_told_before_anything_is_asked(project, server):
    assert "leave `--pictures serve` out" in push(project, server, "--pictures", "serve", fails=2)
    run("classes", "add", "c" * 65, "--folder", project)
    assert "64 characters at most" in push(project, server, fails=2)
    run("classes", "rename", "c" * 65, "cat", "--folder", project)
    tasks = project / "round1" / "tasks" / "cvat" / "annotations.xml"
    tasks.write_text(tasks.read_text().replace(load_project(project).id, "another"))
    assert "is of another project (another)" in push(project, server, fails=2)
    tasks.write_text("<annotations>")
    assert "it is not XML" in push(project, server, fails=2)
    assert not server.asked


def test_a_missing_picture_is_named(project, server):
    name = ranked(project / "round1")[2]
    (project / "round1" / "pictures" / name).unlink()
    assert name in push(project, server, fails=2)
    assert not server.asked


def test_the_stand_in_refuses_answers_that_the_sdk_has_no_place_for(server):
    about = {"name": "a", "description": "", "version": "1", "subtitle": "", "logo_url": ""}
    assert checked(about, (models.About,)) == about
    with pytest.raises(ValueError, match="About has no more"):
        checked({**about, "more": 1}, (models.About,))
    with pytest.raises(TypeError):
        checked({"name": 1}, (models.About,))
