"""Pull from a stand-in for CVAT, which speaks the SDK's schema; not tried on a real server."""

import zipfile

from cvat_project import (
    CAR,
    DOG,
    finish,
    image_of,
    label_of,
    next_round,
    pull,
    push,
    ranked,
    second_round,
    states,
)
from cvat_server import TOKEN
from photo_project import FOUND, run, start

from mgral.labelling.ledger import read_ledger
from mgral.labelling.servers import cvat_session
from mgral.labelling.state import load_project


def test_only_completed_jobs_come_back_and_there_a_picture_without_boxes_is_empty(project, server):
    push(project, server)
    names = list(server.shown(11))
    server.label(names[0], [CAR, DOG])
    server.label(names[4], [CAR])  # of the second job, which is not completed
    server.set_job(101, state="completed", assignee={"username": "bob"})
    server.set_job(102, state="in progress")
    said = pull(project)
    assert "1 of 3 jobs are completed, and not read: 1 in progress, 1 new" in said
    assert states(project, names) == ["labelled", "empty", "empty", *5 * ["sent"]]
    found = label_of(project, names[0])
    assert found.boxes == ((2.0, 3.0, 20.0, 10.0, 1), (8.0, 9.0, 12.0, 6.0, 2))
    assert found.by == "bob"
    assert found.at == server.jobs[101]["updated_date"][:19] + "+00:00"
    server.set_job(102, state="rejected")
    server.set_job(103, state="completed", stage="validation")
    pull(project)
    assert states(project, names[3:]) == [*3 * ["sent"], "empty", "empty"]


def test_boxes_that_were_accepted_as_they_are_count_once_their_job_is_completed(project, server):
    second_round(project, server)
    push(project, server)
    names = list(server.shown(12))
    pull(project)
    assert set(states(project, names)) == {"sent"}
    server.label(names[1], [])
    finish(server, 12)
    pull(project)
    assert states(project, names) == ["labelled", "empty", *["labelled"] * (len(names) - 2)]
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
    with zipfile.ZipFile(saved) as archive:
        texts = [archive.read(name).decode() for name in archive.namelist()]
        assert {one.date_time for one in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
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


def test_only_jobs_that_changed_are_exported_again(project, server):
    def exports() -> int:
        return sum("dataset/export" in one for one in server.asked)

    push(project, server)
    names = list(server.shown(11))
    finish(server, 11)
    pull(project)
    (saved,) = (project / "pulled").rglob("*.zip")
    content = saved.read_bytes()
    assert exports() == 3
    pull(project)
    assert exports() == 3
    saved.write_bytes(content[:-30])
    pull(project)
    assert (exports(), saved.read_bytes()) == (6, content)
    server.label(names[0], [CAR])
    pull(project)
    assert exports() == 7
    assert label_of(project, names[0]).boxes == ((2.0, 3.0, 20.0, 10.0, 1),)
    server.projects[7]["names"].append("bus")
    pull(project)
    assert exports() == 10


def test_a_picture_that_came_back_to_its_task_is_read(project, server):
    push(project, server)
    names = list(server.shown(11))
    server.frames[11][0]["deleted"] = True
    finish(server, 11)
    assert "1 picture was removed" in pull(project)
    del server.frames[11][0]["deleted"]
    pull(project)
    assert states(project, names) == ["empty"] * 8


def test_no_secret_is_in_the_project_or_in_what_a_session_shows_of_itself(project, server):
    push(project, server)
    finish(server, 11)
    pull(project)
    files = [path for path in project.rglob("*") if path.is_file()]
    assert not [path for path in files if TOKEN.encode() in path.read_bytes()]
    assert TOKEN not in repr(cvat_session.Login.from_environment(server.url))


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


def test_of_tasks_that_were_made_by_hand_only_pictures_of_the_project_are_taken(project, server):
    push(project, server)
    frames = [{**one, "boxes": []} for one in server.frames[11][:2]]
    server.tasks[12] = {**server.tasks[11], "id": 12, "name": "by hand"}
    server.frames[12] = [{**frames[0], "name": "a stranger.png"}, *frames]
    server.jobs[200] = {**server.jobs[101], "id": 200, "task_id": 12, "state": "completed"}
    said = pull(project)
    assert "1 picture there is not of this project; left out" in said
    assert load_project(project).counts()["empty"] == 2


def test_pictures_that_were_removed_there_stay_sent(project, server):
    push(project, server)
    server.frames[11][1]["deleted"] = True
    finish(server, 11)
    assert "1 picture was removed" in pull(project)
    assert load_project(project).counts()["sent"] == 1


def test_pictures_that_an_export_lacks_are_told_and_a_damaged_one_is_refused(project, server, monkeypatch):
    push(project, server)
    finish(server, 11)
    whole = server._export
    monkeypatch.setattr(server, "_export", lambda job: whole(job).replace(b"<image", b"<emage"))
    assert "CVAT's job 101 is damaged" in pull(project, fails=1)
    names = list(server.shown(11))
    monkeypatch.setattr(server, "_export", lambda job: whole({**job, "task_id": 12}))
    server.frames[12] = server.frames[11][1:]
    assert "1 picture of a completed job is not in what was exported" in pull(project)
    assert states(project, names) == ["sent", *7 * ["empty"]]


def test_a_job_that_is_opened_again_while_it_is_read_is_not_taken(project, server):
    push(project, server)
    finish(server, 11)
    server.faults = [("/jobs/102/dataset/download", lambda: server.set_job(102, state="in progress"))]
    assert "1 job was changed while it was read; pull again" in pull(project)
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
    assert set(image_of(folder, both[0]).labels) == {"bob", "person2"}
    assert load_project(folder).counts()["labelled"] == 8


def test_pictures_to_look_at_again_are_a_task_of_their_own(project, server, tmp_path):
    second_round(project, server)
    run("classes", "add", "cat", "--folder", project)
    again = tmp_path / "again"
    run("again", again, "--folder", project, "--format", "cvat")
    server.tasks[11]["name"] = "for bob"  # it has the same pictures
    said = push(project, server, again)
    assert "8 pictures sent" in said
    assert "8 were there" in push(project, server, again)
    assert set(map(tuple, server.shown(12).values())) == {((*CAR, "file"),)}
    assert server.projects[7]["names"] == ["car", "dog", "cat"]
    finish(server, 12)
    pull(project)
    found = load_project(project)
    assert not any(found.incomplete(one.confirmed) for one in found.images.values() if one.confirmed)
