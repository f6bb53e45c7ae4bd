"""Batches go to a server of Label Studio: whole, in their order, once, whatever breaks; and no token gets out."""

import json
import shutil
import time
from collections import Counter

import photo_project
import pytest
from label_studio_stand_in import PERSONAL, TOKEN, address, stand_in
from photo_project import answered, photos, run, start

from mgral.artefacts.files import read_json
from mgral.labelling import running
from mgral.labelling.servers import label_studio, label_studio_pictures, rest
from mgral.labelling.state import Place, load_project

LOCAL = "/data/local-files/?d="


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(running, "run_snakemake", photo_project.compute)
    monkeypatch.setattr(rest, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(rest, "TIMEOUT", (0.3, 0.3))
    monkeypatch.setattr(label_studio, "SENT_AT_ONCE", 3)
    monkeypatch.setattr(label_studio, "KNOWN_AT_ONCE", 4)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", TOKEN)


@pytest.fixture
def project(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--format", "label_studio")
    return project


@pytest.fixture
def server(project):
    with stand_in(project) as server:
        yield server


def push(project, server, *options, fails=0):
    return run("push", "--folder", project, "--to", "label-studio", "--url", server.url, *options, fails=fails)


def written(folder):
    return read_json(folder / "tasks" / "label_studio" / "label_studio.json")


def sent(tasks):
    """What is the same of tasks wherever they are: their picture's number, rank and boxes."""
    return [
        (
            one["data"]["mgral_id"],
            one["data"]["mgral_rank"],
            [[region["value"] for region in found["result"]] for found in one.get("predictions", [])],
        )
        for one in tasks
    ]


def ledger(project):
    return (project / "ledger.jsonl").read_bytes()


def second_round(project):
    run("import", "--folder", project, answered(project, 1))
    run("next", "--folder", project, "--format", "label_studio")


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
    assert list(known) == [Place("label_studio", server.url, "")]
    assert "next: mgral project pull, for the 8 pictures" in run("status", "--folder", project)
    run("import", "--folder", project, answered(project, 1))
    assert "or send them: mgral project push\n" in run("next", "--folder", project)
    assert "next: mgral project push and mgral project pull" in run("status", "--folder", project)
    run("push", "--folder", project)
    assert len(server.projects) == 1
    assert known != load_project(project).pushed
    assert "next: mgral project pull" in run("status", "--folder", project)


def test_a_lost_line_of_the_ledger_is_found_on_the_server(project, server):
    lines = ledger(project)
    for number in range(150):  # of other people, on several pages
        server.projects[1000 + number] = {"id": 1000 + number, "description": f"mgral:other{number}"}
    push(project, server)
    (project / "ledger.jsonl").write_bytes(lines)
    assert "0 pictures sent" in push(project, server)
    assert len(server.projects) == 151
    server.projects[2000] = {"id": 2000, "description": server.projects[1]["description"]}
    (project / "ledger.jsonl").write_bytes(lines)
    assert "/projects/2000" in push(project, server, fails=2)


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


def test_an_edition_that_imports_in_the_background_is_waited_for(project, server):
    server.background = True
    push(project, server)
    assert sent(server.tasks.values()) == sent(written(project / "round1"))


def test_a_server_that_is_away_or_busy_is_tried_again_and_then_said(project, server):
    server.fault = lambda number, method, path: "busy" if number < 3 else None
    said = push(project, server)
    assert "503" in said
    assert "8 pictures sent" in said
    server.fault = lambda number, method, path: "busy"
    assert "run the same command again" in push(project, server, fails=1)
    server.url = "http://127.0.0.1:9"
    assert "cannot be reached" in push(project, server, fails=1)


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


def test_a_project_that_is_gone_or_anothers_now_is_made_anew_when_a_person_says_so(project, server):
    push(project, server)
    server.tasks.clear()
    (number,) = server.projects
    first = server.projects.pop(number)
    for other in (None, {**first, "description": "somebody's"}):  # a server that began anew gives its number again
        if other:
            server.projects[number] = other
        before = ledger(project)
        for command in ("push", "pull"):
            assert "mgral project push --anew" in run(command, "--folder", project, fails=2)
        assert ledger(project) == before
        assert not server.tasks
    assert "8 pictures sent" in run("push", "--folder", project, "--anew")
    assert "0 pictures sent" in run("push", "--folder", project)
    assert server.projects[number] == other
    assert {one["project"] for one in server.tasks.values()} == {max(server.projects)}


def test_only_what_somebody_deleted_is_sent_again(project, server):
    push(project, server)
    labelled, *_ = server.tasks.values()
    server.annotate(labelled, [])
    run("pull", "--folder", project)
    gone = [list(server.tasks)[place] for place in (1, 6)]
    images = [server.tasks.pop(number)["data"]["mgral_id"] for number in gone]
    del server.tasks[labelled["id"]]  # its label is known, and nobody misses it
    said = run("pull", "--folder", project)
    assert "2 pictures of round 1 are on no server" in said
    assert "mgral project push --round 1" in said
    said = run("push", "--folder", project)
    assert "2 pictures sent, 5 were there" in said
    assert "1 pictures were not sent" in said
    assert [one["data"]["mgral_id"] for one in server.tasks.values()][-2:] == images


def test_withdrawn_pictures_never_leave(project, server):
    private = written(project / "round1")[4]["data"]
    run("withdraw", private["image"].rpartition("/")[2], "--reason", "private", "--folder", project)
    (project / "round1" / "pictures" / private["image"].rpartition("/")[2]).unlink()
    assert "7 pictures sent" in push(project, server, "--pictures", "upload")
    assert private["mgral_id"] not in [one["data"]["mgral_id"] for one in server.tasks.values()]
    assert len(server.uploads) == 7
    assert "0 pictures sent, 7 were there" in push(project, server)


def test_new_classes_are_added_to_what_people_made_of_the_interface(project, server):
    push(project, server)
    (made,) = server.projects.values()
    made["label_config"] = made["label_config"].replace(
        "</View>", '<!-- ours --><Choices name="c" toName="image"/></View>'
    )
    run("classes", "add", "cat", "--folder", project)
    run("classes", "rename", "dog", "hound", "--folder", project)
    said = run("push", "--folder", project)
    assert "new in the labelling interface: hound, cat" in said
    assert "former classes (dog)" in said
    assert "<!-- ours --><Choices" in made["label_config"]
    assert [f'value="{name}"' in made["label_config"] for name in ("car", "dog", "hound", "cat")] == [True] * 4
    config = made["label_config"]
    assert "new in" not in run("push", "--folder", project)
    assert made["label_config"] == config
    made["label_config"] = config.replace('value="dog"', 'value="bird"')
    assert "classes that the project has not (bird)" in run("push", "--folder", project)


@pytest.mark.parametrize(
    "change",
    [("$image", "$picture"), ('"label"', '"other"'), ("RectangleLabels", "PolygonLabels"), ("</View>", ""),
     ('toName="image"', 'toName="img"')],
)  # fmt: skip
def test_an_interface_that_does_not_fit_any_more_is_said_with_one_that_does(project, server, change):
    push(project, server)
    (made,) = server.projects.values()
    made["label_config"] = altered = made["label_config"].replace(*change)
    second_round(project)
    said = run("push", "--folder", project, fails=2)
    assert f"/projects/{made['id']}/settings" in said
    assert '<Label value="dog"' in said
    assert made["label_config"] == altered
    assert len(server.tasks) == 8


def test_what_hides_boxes_or_changes_the_order_is_said(project, server):
    push(project, server)
    (made,) = server.projects.values()
    made |= {"sampling": "Uniform sampling", "show_collab_predictions": False}
    said = run("push", "--folder", project)
    assert "Uniform sampling" in said
    assert "shows no proposed boxes" in said


def test_proposed_boxes_have_the_names_of_today(project, server):
    second_round(project)
    run("classes", "rename", "car", "vehicle", "--folder", project)
    push(project, server)
    assert {
        region["value"]["rectanglelabels"][0] for _, _, found in sent(server.tasks.values()) for (region,) in []
    } == set()
    labels = [v["rectanglelabels"] for _, _, found in sent(server.tasks.values()) for values in found for v in values]
    assert labels == [["vehicle"]] * len(labels) != []


def test_proposed_boxes_of_a_class_that_was_split_are_left_out(project, server):
    second_round(project)
    run("classes", "split", "car", "--into", "van", "--into", "bus", "--folder", project)
    assert "4 proposed boxes are left out" in push(project, server)
    assert all(not values for _, _, found in sent(server.tasks.values()) for values in found)


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


def test_pictures_to_look_at_again_are_sent_once_also_when_some_are_done(project, server, tmp_path):
    push(project, server)
    for task in server.tasks.values():
        server.annotate(task, [])
    run("pull", "--folder", project)
    run("classes", "add", "cat", "--folder", project)
    said = run("again", tmp_path / "again", "--folder", project)
    assert f"or send them: mgral project push {tmp_path / 'again'}\n" in said
    assert f"{tmp_path / 'again'}: 8 pictures sent" in run("push", tmp_path / "again", "--folder", project)
    assert "0 pictures sent, 8 were there" in run("push", tmp_path / "again", "--folder", project)
    later = "2099-01-01T00:00:00Z"
    for task in list(server.tasks.values())[8:11]:
        server.annotate(task, [], updated_at=later)
    assert "3 corrected" in run("pull", "--folder", project)
    run("again", tmp_path / "rest", "--folder", project)
    assert "0 pictures sent, 5 were there" in run("push", tmp_path / "rest", "--folder", project)
    assert len(server.tasks) == 16
    run("classes", "add", "bird", "--folder", project)
    run("again", tmp_path / "birds", "--folder", project)
    assert "8 pictures sent" in run("push", tmp_path / "birds", "--folder", project)


def test_each_person_of_a_split_round_has_a_project(tmp_path):
    project = start(tmp_path)
    run("next", "--folder", project, "--people", "2", "--shared", "0.25")
    (project / "round1" / "person1 copy").mkdir()  # somebody's
    with stand_in(project) as server:
        assert "no share of person 3" in push(project, server, "--person", "3", fails=2)
        assert "round 1, person2: 5 pictures sent" in push(project, server, "--person", "2")
        assert [one["title"] for one in server.projects.values()] == ["mine person2"]
        said = push(project, server)
        assert "round 1, person1: 5 pictures sent" in said
        assert "round 1, person2: 0 pictures sent, 5 were there" in said
        for person, one in zip(("person2", "person1"), server.projects, strict=True):
            assert sent(server.of(one)) == sent(written(project / "round1" / person))
        assert len(load_project(project).pushed) == 2


def test_what_cannot_be_pushed_is_said_before_anything_is_sent(project, server, tmp_path):
    assert "round 7 has no pictures" in push(project, server, "--round", "7", fails=2)
    assert "is no folder" in push(project, server, tmp_path / "nothing", fails=2)
    assert "give --round" in push(project, server, project / "round1", "--round", "1", fails=2)
    for inside in (project / "round1", project / "round1" / "pictures"):  # else all were sent a second time
        assert "mgral project push --round 1" in push(project, server, inside, fails=2)
    file = project / "round1" / "tasks" / "label_studio" / "label_studio.json"
    whole = read_json(file)
    for wrong in ([], [{}], [{"data": 3}], {"data": []}, [*whole[:1], 7]):
        file.write_text(json.dumps(wrong))
        assert str(file) in push(project, server, fails=2)
    whole[0]["data"]["mgral_project"] = "another"
    file.write_text(json.dumps(whole))
    assert "of another project (another)" in push(project, server, fails=2)
    shutil.rmtree(file.parent)
    assert "--format label_studio" in push(project, server, fails=2)
    assert not server.tasks
    assert "pushed" not in ledger(project).decode()


def test_a_missing_picture_is_said_before_anything_is_sent(project, server):
    (project / "round1" / "pictures" / written(project / "round1")[3]["data"]["image"].rpartition("/")[2]).unlink()
    assert "not on disk" in push(project, server, fails=2)
    assert not server.tasks
    (project / "round1" / "selection.csv").write_text("file,rank\n")
    assert "selection.csv is damaged" in push(project, server, fails=2)
    assert not server.tasks
