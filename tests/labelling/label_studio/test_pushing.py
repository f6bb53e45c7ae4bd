"""Batches go to a server of Label Studio: whole, in their order, once, whatever breaks; and no token gets out."""

import shutil
import time
from collections import Counter

import pytest
from label_studio_stand_in import PERSONAL, TOKEN, address, stand_in
from photo_project import answered, photos, run, start
from pushed import ledger, push, second_round, sent, written

from mgral.labelling.servers import label_studio, label_studio_pictures, rest
from mgral.labelling.state import PushTarget, load_project

LOCAL = "/data/local-files/?d="


def test_all_tasks_are_there_in_their_order_with_their_boxes_and_pictures(project, server):
    second_round(project)
    said = push(project, server)
    tasks = written(project / "round2")
    assert f"round 2: {len(tasks)} pictures sent" in said
    (made,) = server.projects.values()
    assert (made["title"], made["sampling"], made["show_collab_predictions"]) == ("mine", "Sequential sampling", True)
    there = server.of(made["id"])
    assert sent(there) == sent(tasks)
    assert sent(tasks)[0][2], "a box is proposed"
    # A project shows the predictions of one name only.
    assert {found["model_version"] for one in there for found in one["predictions"]} == {made["model_version"]}
    for task in there:
        assert task["data"]["image"].startswith(f"{LOCAL}round2/pictures/")
        # Of a strategy, on its own scale: it would be shown as percent.
        assert all("score" not in found for found in task["predictions"])
    assert len(server.storages) == 1


def test_twice_changes_nothing_and_all_later_commands_know_where(project, server):
    push(project, server)
    before, tasks = ledger(project), dict(server.tasks)
    assert "0 pictures sent, 8 were there" in run("push", "--folder", project)
    assert ledger(project) == before
    assert server.tasks == tasks
    known = load_project(project).pushed
    assert list(known) == [PushTarget("label_studio", server.url, "")]
    assert "next: mgral project pull, for 8 pictures" in run("status", "--folder", project)
    run("import", "--folder", project, answered(project, 1))
    assert "or send them: mgral project push\n" in run("next", "--folder", project)
    assert "next: mgral project push and mgral project pull" in run("status", "--folder", project)
    run("push", "--folder", project)
    assert len(server.projects) == 1
    assert known != load_project(project).pushed
    assert "next: mgral project pull" in run("status", "--folder", project)


@pytest.mark.parametrize("way", ["serve", "upload"])
@pytest.mark.parametrize("how", ["before", "after"])
@pytest.mark.parametrize("patient", [True, False])
def test_wherever_the_connection_breaks_everything_is_there_once(project, server, how, way, patient, monkeypatch):
    """Of every request in turn: survived at once where it is tried again, else by the same command."""
    if not patient:
        for module in (rest, label_studio, label_studio_pictures):
            monkeypatch.setattr(module, "TRIES", 1)
    whole = sent(written(project / "round1"))
    lines = ledger(project)
    for broken in range(100):
        for part in (server.projects, server.tasks, server.storages, server.uploads, server.asked):
            part.clear()
        (project / "ledger.jsonl").write_bytes(lines)
        server.fault = lambda number, method, path, broken=broken: how if number == broken else None
        said = push(project, server, "--pictures", way, fails=0 if patient else None)
        if "mgral: " in said:
            push(project, server, "--pictures", way)
        asked_all = len(server.asked) <= broken
        assert sent(server.of(next(iter(server.projects)))) == whole
        assert len(server.projects) == 1
        assert set(Counter(one["data"]["image"] for one in server.tasks.values()).values()) == {1}
        if asked_all:
            return
    raise AssertionError("it never ended")


def test_an_edition_that_imports_in_the_background_is_waited_for(project, server):
    server.background = True
    push(project, server)
    assert sent(server.tasks.values()) == sent(written(project / "round1"))


@pytest.mark.parametrize("token", ["", "0" * 40, "two words", "schlüssel", PERSONAL[:-1] + "X"])
def test_a_refused_token_is_named_by_its_variable_only(project, server, token, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    said = push(project, server, fails=2)
    assert "LABEL_STUDIO_API_KEY" in said
    assert not token or token not in said
    assert "pushed" not in ledger(project).decode()
    assert not server.projects


def test_a_personal_access_token_is_renewed_while_it_is_used(project, server, monkeypatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", f" {PERSONAL}\n")
    server.legacy, server.expires = False, 2
    push(project, server, "--pictures", "upload")
    assert sent(server.tasks.values()) == sent(written(project / "round1"))
    assert len(server.bought) > 3


@pytest.mark.parametrize("token", [TOKEN, PERSONAL])
def test_the_token_is_in_no_file_and_no_message(project, server, token, monkeypatch, tmp_path):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    before = ledger(project)
    said = push(project, server) + run("pull", "--folder", project)
    server.fault = lambda number, method, path: "before" if "tasks" in path else None
    said += push(project, server, fails=1)
    server.fault = lambda number, method, path: "echo" if path == "/api/projects" else None
    (project / "ledger.jsonl").write_bytes(before)
    refused = push(project, server, fails=2)
    assert "You may not: " in refused
    said += refused
    bought = [token, *(f"bought{number}" for number in range(1, 9))]
    assert not any(one in said for one in bought)
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or not any(one.encode() in path.read_bytes() for one in bought), path


@pytest.mark.parametrize(
    "url",
    ["http://me:secret@localhost", "http://secret@localhost", "http://localhost?secret", "secret", "ftp://secret",
     "http://localhost:secret", "http://"],
)  # fmt: skip
def test_an_address_that_holds_more_than_an_address_is_refused_and_not_repeated(project, url):
    said = run("push", "--folder", project, "--to", "label-studio", "--url", url, fails=2)
    assert "--url" in said
    assert "secret" not in said.replace("--url", "")
    assert "secret" not in ledger(project).decode()


def test_another_server_at_the_address_is_named(project, server):
    server.url += "/projects/1/data"  # as a browser shows it
    assert "/projects/1/data is no Label Studio; correct --url" in push(project, server, fails=2)
    assert not server.tasks


def test_a_server_of_another_version_or_that_sends_on_is_named(project, server):
    server.fault = lambda number, method, path: "strange" if path == "/api/projects" else None
    assert "otherwise than Label Studio 1.23" in push(project, server, fails=2)
    server.fault = lambda number, method, path: "strange" if path == "/api/version" else None
    assert "is no Label Studio" in push(project, server, fails=2)
    server.fault = lambda number, method, path: "elsewhere"
    assert "sends on to https://label.example;" in push(project, server, fails=2)


def test_pictures_that_the_server_cannot_read_are_uploaded_once(tmp_path):
    """Names that it would change are replaced, and the number of the picture stays."""
    odd = photos(tmp_path / "photos", 4)
    for number, name in enumerate(("a b#%ä.png", "a_b.png", f"{'x' * 90}.png"), start=2):
        (odd / f"p{number}.png").rename(odd / name)
    project = start(tmp_path, count=1, budget=4)
    run("next", "--folder", project, "--format", "label_studio")
    with stand_in() as server:
        assert "--pictures upload" in push(project, server, "--pictures", "serve", fails=2)
        said = push(project, server)
        assert "uploaded" in said
        files = load_project(project).files
        assert len(server.tasks) == 4
        for task in server.tasks.values():
            path = tmp_path / files[task["data"]["mgral_id"]]
            assert address(server, task["data"]["image"]) == path.read_bytes()
        server.tasks.clear()
        push(project, server)
        assert len(server.uploads) == 4
        server.annotate(next(iter(server.tasks.values())), [])
        assert "1 new" in run("pull", "--folder", project)


@pytest.mark.parametrize("above", [0, 1, 2])
def test_pictures_are_served_from_any_document_root_above_them(project, above):
    root = [project, project.parent, project.parent.parent][above]
    with stand_in(root) as server:
        push(project, server)
        prefix = (project / "round1" / "pictures").relative_to(root).as_posix()
        assert all(one["data"]["image"].startswith(f"{LOCAL}{prefix}/") for one in server.tasks.values())
        assert not server.uploads


def test_other_pictures_of_the_same_names_are_not_taken_for_ours(project, tmp_path):
    """Another project's, nearer to the document root."""
    shutil.copytree(project / "round1" / "pictures", tmp_path / "round1" / "pictures")
    for path in (tmp_path / "round1" / "pictures").iterdir():
        path.write_bytes(path.read_bytes() + b"more")
    with stand_in(tmp_path) as server:
        server.storages[99] = {"id": 99, "project": 5, "path": str(tmp_path / "round1"), "use_blob_urls": True}
        push(project, server)
        assert all(one["data"]["image"].startswith(f"{LOCAL}mine/round1") for one in server.tasks.values())


def test_a_document_root_elsewhere_means_uploads(project, tmp_path):
    with stand_in(tmp_path / "other") as server:
        assert "must be a subdirectory" in push(project, server)
        assert len(server.uploads) == 8
        assert not server.storages


def test_pictures_of_a_prefix_stay_where_they_are(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--format", "label_studio", "--prefix", "https://pictures.org/x")
    with stand_in(project) as server:
        push(project, server)
        assert all(one["data"]["image"].startswith("https://pictures.org/x/p") for one in server.tasks.values())
        assert not server.storages
        assert not server.uploads


def test_a_server_that_is_too_slow_is_not_sent_the_same_again(project, server):
    """What it may still be at is waited for, and sent by the same command later only."""
    late = []

    def fault(number, method, path):
        if path.endswith("/import") and not late:
            late.append(number)
            return "late"
        return None

    server.fault = fault
    assert "does not answer in time" in push(project, server, fails=1)
    time.sleep(0.7)
    assert len(server.tasks) == 3
    assert "5 pictures sent, 3 were there" in push(project, server)
    assert sent(server.tasks.values()) == sent(written(project / "round1"))


@pytest.mark.parametrize("content", [b"null", b"[1]", b'"no"', b'{"tasks": ["a"], "total": "many"}', b"[" * 9999])
def test_whichever_answer_is_of_another_sort_it_is_told_and_the_same_command_goes_on(project, server, content):
    server.strange = content
    for odd in range(1, 6):
        server.asked.clear()
        server.fault = lambda number, method, path, odd=odd: "strange" if number == odd else None
        push(project, server, fails=None)
    server.fault = lambda number, method, path: None
    push(project, server)
    assert sent(server.of(min(server.projects))) == sent(written(project / "round1"))


def test_a_server_that_is_away_or_busy_is_tried_again_and_then_said(project, server):
    server.fault = lambda number, method, path: "busy" if number < 3 else None
    said = push(project, server)
    assert "503" in said
    assert "8 pictures sent" in said
    server.fault = lambda number, method, path: "busy"
    assert "run the same command again" in push(project, server, fails=1)
    server.url = "http://127.0.0.1:9"
    assert "cannot be reached" in push(project, server, fails=1)
