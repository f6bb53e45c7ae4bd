"""Labels come back from a server of Label Studio: in their states, checked as files are, and nothing twice."""

import pytest
from label_studio_stand_in import stand_in
from photo_project import SIZE, run, start
from pushed import ledger, push

from mgral.labelling.servers import rest
from mgral.labelling.state import load_project


@pytest.fixture
def server(project, server):
    push(project, server)
    return server


def pull(project, *options, fails=0):
    return run("pull", "--folder", project, *options, fails=fails)


def box(label="car", x=25.0):
    """A region of half the picture's width, whose left side is at `x` percent."""
    return {
        "id": "r1",
        "type": "rectanglelabels",
        "from_name": "label",
        "to_name": "image",
        "original_width": SIZE[0],
        "original_height": SIZE[1],
        "image_rotation": 0,
        "value": {"x": x, "y": 50.0, "width": 50.0, "height": 25.0, "rotation": 0, "rectanglelabels": [label]},
    }


def image_of(project, task):
    return load_project(project).images[task["data"]["mgral_id"]]


def test_each_state_comes_back_with_its_time_and_its_person(project, server):
    labelled, empty, skipped, draft, both, other, *untouched = server.tasks.values()
    server.annotate(labelled, [box()])
    server.annotate(empty, [])
    server.annotate(skipped, [], was_cancelled=True)
    server.draft(draft, [box()])
    server.annotate(both, [box()])
    server.annotate(both, [box("dog")], by=2, updated_at="2026-11-30T11:00:00Z")
    server.annotate(other, [box()])
    server.draft(other, [box("dog")])
    said = pull(project)
    assert "2 not checked" in said
    assert "6 new, 1 of a second person" in said
    assert "of them 1 draft, 1 skipped" in said
    states = [image_of(project, task).state for task in server.tasks.values()]
    assert states == ["labelled", "empty", "skipped", "draft", "labelled", "labelled", "sent", "sent"]
    assert len(untouched) == 2
    label = image_of(project, labelled).confirmed
    assert label.boxes == ((12.0, 18.0, 24.0, 9.0, 1),)  # of 48 x 36 pixels
    assert (label.by, label.at, label.seconds) == ("1", "2026-11-30T10:00:00+00:00", 3.5)
    assert [box[4] for box in image_of(project, both).confirmed.boxes] == [2]
    assert sorted(image_of(project, both).labels) == ["1", "2"]


def test_twice_changes_nothing_and_a_correction_does(project, server):
    first, second, *_ = server.tasks.values()
    server.annotate(first, [box()])
    server.draft(second, [box()])
    pull(project)
    before = ledger(project)
    second["drafts"][0]["created_ago"] = "a year ago"
    assert "unchanged" in pull(project)
    assert ledger(project) == before
    first["annotations"][0] |= {"result": [box(x=0.0)], "updated_at": "2026-12-01T10:00:00Z"}
    assert "1 corrected" in pull(project)
    assert image_of(project, first).confirmed.boxes[0][:2] == (0.0, 18.0)


def test_the_saved_file_is_what_the_server_has_and_no_matter_of_git(project, server):
    said = pull(project)
    (file,) = (project / "pulled").rglob("*.json")
    assert run("import", file, "--folder", project) == said
    assert "/pulled/" in (project / ".gitignore").read_text().splitlines()


def test_a_draft_that_its_person_ends_is_no_second_person(project, server):
    task, *_ = server.tasks.values()
    server.draft(task, [box()])
    pull(project)
    task["drafts"].clear()
    server.annotate(task, [box()])
    assert "1 corrected" in pull(project)
    assert list(image_of(project, task).labels) == ["1"]


def test_tasks_that_were_not_sent_from_here_are_left_out_and_counted(project, server):
    (made,) = server.projects
    for number in range(7):
        data = {"image": f"/data/upload/1/by-hand{number}.png"}
        if number > 4:  # of another project of mgral, or with a number that is none
            data |= {"mgral_id": 1 if number > 5 else "x", "mgral_project": "other", "mgral_round": 1}
        task = server.number()
        server.tasks[task] = {"id": task, "project": made, "annotations": [], "drafts": [], "data": data}
        server.annotate(server.tasks[task], [box("unheard of")])
    server.annotate(next(iter(server.tasks.values())), [box()])
    said = pull(project)
    assert "7 tasks of" in said
    assert "1 new" in said
    assert load_project(project).counts()["labelled"] == 1
    assert "0 pictures sent, 8 were there" in run("push", "--folder", project)


def test_labels_outside_the_class_list_are_named_and_nothing_is_lost(project, server):
    first, second, *_ = server.tasks.values()
    server.annotate(first, [box()])
    server.annotate(second, [box("bird")])
    before = ledger(project)
    said = pull(project, fails=2)
    assert "bird" in said
    assert "mgral project classes add" in said
    assert ledger(project) == before
    assert "2 new" in pull(project, "--rename", "bird=dog")
    assert [one[4] for one in image_of(project, second).confirmed.boxes] == [2]


@pytest.mark.parametrize(
    "odd",
    [
        {"drafts": None},
        {"drafts": ["begun"]},
        {"drafts": [{}]},
        {"drafts": [{"user": []}]},
        {"annotations": [{"lead_time": float("nan")}]},
    ],
)
def test_tasks_of_another_sort_are_told_and_nothing_is_lost(project, server, odd):
    first, second, *_ = server.tasks.values()
    server.annotate(second, [box()])
    before, good = ledger(project), dict(first)
    first |= odd
    assert "otherwise than Label Studio 1.23" in pull(project, fails=2)
    assert ledger(project) == before
    first |= good
    assert "1 new" in pull(project)


@pytest.mark.parametrize("how", ["before", "after"])
def test_a_server_that_stops_in_the_middle_leaves_everything_as_it_was(project, server, how, monkeypatch):
    for task in server.tasks.values():
        server.annotate(task, [box()])
    monkeypatch.setattr(rest, "TRIES", 1)
    before = ledger(project)
    for broken in range(100):
        begun = len(server.asked)
        server.fault = lambda number, method, path, at=begun + broken: how if number == at else None
        said = pull(project, fails=None)
        if "mgral: " not in said:
            assert "8 new" in said
            return
        assert "run the same command again" in said
        assert ledger(project) == before
    raise AssertionError("it never ended")


def test_tasks_that_come_and_go_while_they_are_read_are_read_again(project, server):
    """A task that is deleted moves the others: one would be read on no page."""
    victims = [1, 0]

    def fault(number, method, path):
        if path == "/api/tasks" and victims:
            victim = victims.pop()
            if victim:
                del server.tasks[min(server.tasks)]
        return None

    for task in server.tasks.values():
        server.annotate(task, [box()])
    begun = list(server.tasks)[1:]
    server.fault = fault
    assert "7 new" in pull(project)
    assert list(server.tasks) == begun
    assert {image_of(project, task).state for task in server.tasks.values()} == {"labelled"}
    assert load_project(project).counts()["sent"] == 1


def test_nothing_is_pulled_before_something_was_pushed(tmp_path):
    assert "mgral project push" in pull(start(tmp_path), fails=2)


def test_people_of_a_split_round_come_back_together(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--people", "2", "--shared", "0.25", "--format", "label_studio")
    with stand_in(project) as server:
        run("push", "--folder", project, "--to", "label-studio", "--url", server.url)
        for by, one in enumerate(server.projects, start=1):
            for task in server.of(one):
                server.annotate(task, [box()], by=by)
        said = pull(project)
        assert load_project(project).counts()["labelled"] == 8
        assert "2 of a second person" in said
        before = ledger(project)
        pull(project)
        assert ledger(project) == before


def test_a_share_that_was_not_pushed_is_missed(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--people", "2", "--format", "label_studio")
    with stand_in(project) as server:
        run("push", "--folder", project, "--to", "label-studio", "--url", server.url, "--person", "1")
        assert "4 pictures of round 1 are on no server" in pull(project)


def test_a_server_that_has_moved_is_pushed_to_once_and_the_old_one_left_out(project, server, monkeypatch):
    """It has all that it had."""
    monkeypatch.setattr(rest, "TRIES", 1)
    for task in server.tasks.values():
        server.annotate(task, [])
    with stand_in(project) as moved:
        moved.projects, moved.tasks = server.projects, server.tasks
        server.fault = lambda number, method, path: "before"
        run("push", "--folder", project, "--to", "label-studio", "--url", moved.url)
        assert server.url in pull(project, fails=1)
        assert "8 new" in pull(project, "--url", f"{moved.url}/")
        assert server.url in pull(project, "--url", "http://nowhere", fails=2)
