"""Push to a stand-in for CVAT, which speaks the SDK's schema; not tried on a real server."""

import pytest
from cvat_project import CAR, DOG, finish, label_of, pull, push, ranked, second_round
from cvat_sdk import models
from cvat_server import PASSWORD, USER
from cvat_state import checked
from photo_project import FOUND, run

from mgral.labelling.ledger import read_ledger
from mgral.labelling.servers import cvat_session
from mgral.labelling.state import load_project


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


def test_withdrawn_pictures_are_not_sent_and_a_task_without_them_is_found_again(project, server):
    second_round(project, server)
    first, second, *others = ranked(project / "round2")
    run("withdraw", "--folder", project, first, "--reason", "private")
    said = push(project, server)
    assert "1 picture was not sent" in said
    assert list(server.shown(12)) == [second, *others]
    assert all(server.shown(12).values())
    run("withdraw", "--folder", project, second, "--reason", "private too")
    changed = list(server.changed)
    push(project, server)
    assert server.changed == changed


def test_no_task_is_made_where_all_pictures_are_withdrawn(project, server):
    run("withdraw", "--folder", project, *ranked(project / "round1"), "--reason", "private")
    assert "8 pictures were not sent" in push(project, server)
    assert not server.tasks


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
    assert "(ReadTimeoutError)" in push(project, server, fails=1)
    push(project, server)
    assert list(server.tasks) == [11]


@pytest.mark.parametrize(
    ("pattern", "fault", "code", "words"),
    [
        ("about", "page", 2, "does not answer as a CVAT"),
        ("about", 404, 2, "check that it is a CVAT"),
        ("about", "other", 2, "does not answer as a CVAT"),
        ("about", "elsewhere", 2, "sends on to https://cvat.example; give that address as --url"),
        ("GET /api/tasks$", "other", 2, "it is version 2.80.0; install the cvat-sdk of that version"),
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


@pytest.mark.parametrize("value", ["two\nlines", "schlüssel"])
@pytest.mark.parametrize("name", [cvat_session.TOKEN, cvat_session.ORGANIZATION])
def test_what_cannot_be_sent_as_a_token_is_named_and_not_shown(project, server, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    said = push(project, server, fails=2)
    assert name in said
    assert value not in said
    assert not server.asked


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
