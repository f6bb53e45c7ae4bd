"""A pushed project that people, or its owner, changed: each change has its message, and nothing is lost."""

import json
import shutil

import pytest
from label_studio_stand_in import stand_in
from photo_project import run, start
from pushed import ledger, push, second_round, sent, written

from mgral.artefacts.files import read_json
from mgral.labelling.state import load_project


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
    assert "1 picture was not sent" in said
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
