"""The command of a detector of the user's own: what it is given, that it is run as said, and what it may not see."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from safetensors.numpy import load_file

from mgral.artefacts.files import write_json
from mgral.cli.main import mgral
from mgral.engine.console.jobs import last_words
from mgral.errors import InputError, StepError
from mgral.training.external import input_lists, run_command

SIZE = {"width": 100, "height": 80}


def coco(ids, boxes):
    """Images with as many boxes as given, of the one class 3."""
    return {
        "images": [{"id": id_, "file_name": f"pictures/{id_}.png", "source_id": "a", **SIZE} for id_ in ids],
        "annotations": [
            {"id": place, "image_id": id_, "category_id": 3, "bbox": [id_, 1, 20, 20], "iscrowd": 0, "area": 400}
            for place, id_ in enumerate(boxes, start=1)
        ],
        "categories": [{"id": 3, "name": "cat"}],
    }


TRAIN, TEST = coco((1, 2, 3), (1, 2, 2, 3)), coco((7, 8), (7, 8, 8))
LISTS = {"train": {"of": "train"}, "pool": {}, "test": {}}


def test_only_labelled_images_come_with_boxes():
    lists = input_lists(TRAIN, TEST, np.array([2]), Path("/data set"))
    assert [image["id"] for image in lists["train"]["images"]] == [2]
    assert [box["bbox"] for box in lists["train"]["annotations"]] == [[2, 1, 20, 20]] * 2
    assert lists["pool"]["images"] == [
        {"id": id_, "file_name": f"/data set/pictures/{id_}.png", **SIZE} for id_ in (1, 3)
    ]
    assert [image["id"] for image in lists["test"]["images"]] == [7, 8]
    assert lists["pool"]["annotations"] == lists["test"]["annotations"] == []
    assert {json.dumps(one["categories"]) for one in lists.values()} == {'[{"id": 3, "name": "cat"}]'}


def test_placeholders_are_paths_that_a_shell_takes_whole(tmp_path):
    command = (
        "cp {train} {output}/seen.json; echo {seed} {gpus} ${HOME:+home} > {output}/values; touch {scratch}/mine"
    )
    output = run_command(command, LISTS, tmp_path / "a folder", seed=12, gpus=1)
    assert json.loads((output / "seen.json").read_text()) == {"of": "train"}
    assert (output / "values").read_text() == "12 1 home\n"
    assert (tmp_path / "a folder" / "scratch" / "any" / "mine").exists()


def test_a_command_that_fails_is_quoted(tmp_path):
    with pytest.raises(StepError) as raised:
        run_command("echo one; echo two >&2; (exit 3); echo never", LISTS, tmp_path, seed=0)
    assert str(raised.value).splitlines() == [
        "detector.command ended with exit code 3; its last lines:",
        "  one",
        "  two",
        f"All of its output is in {tmp_path / 'command.log'}; correct the command, or run again",
    ]
    with pytest.raises(StepError, match=r"was ended by signal 9; it printed nothing\."):
        run_command("kill -9 $$", LISTS, tmp_path, seed=0)


def test_the_end_of_a_long_output_is_on_the_terminal(tmp_path):
    with pytest.raises(StepError) as raised:
        run_command("seq 100; echo; echo the cause; exit 1", LISTS, tmp_path, seed=0)
    log = tmp_path / "step.log"
    log.write_text(f"mgral: {raised.value}\n")
    shown = last_words((log,))
    assert shown[-2:] == ["  the cause", str(raised.value).splitlines()[-1]]


def test_what_a_failed_command_had_written_is_gone_and_its_scratch_is_not(tmp_path):
    half_way = "echo half > {output}/test.json; echo state > {scratch}/state; exit 1"
    with pytest.raises(StepError):
        run_command(half_way, LISTS, tmp_path, seed=0, scratch="a")
    output = run_command("cp {scratch}/state {output}", LISTS, tmp_path, seed=0, scratch="a")
    assert [path.name for path in output.iterdir()] == ["state"]
    assert not list(run_command("cp -r {scratch} {output}/copy", LISTS, tmp_path, seed=0, scratch="b").glob("copy/*"))
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == ["b"]


def test_two_commands_do_not_write_to_one_folder(tmp_path):
    """Such as one that goes on after its step was killed."""
    command = "touch {scratch}/started; until [ -e {scratch}/stop ]; do sleep 0.05; done"
    code = "import sys, pathlib; from mgral.training.external import run_command\n"
    code += "run_command(sys.argv[1], {}, pathlib.Path(sys.argv[2]), seed=0)"
    step = subprocess.Popen([sys.executable, "-c", code, command, tmp_path])
    scratch = tmp_path / "scratch" / "any"
    try:
        while not (scratch / "started").exists():
            assert step.poll() is None
        step.kill()
        step.wait()
        with pytest.raises(StepError, match="the command of an earlier run still runs there; wait, or end it"):
            run_command("true", LISTS, tmp_path, seed=0)
    finally:
        (scratch / "stop").touch()


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """The files of a job, with the working directory in their folder; returns a function that runs it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_json(tmp_path / "train.json", TRAIN)
    write_json(tmp_path / "test.json", TEST)
    write_json(tmp_path / "labelled.json", {"images": [2]})

    def run(command, gives=("probabilities",)):
        detector = {"name": "external", "command": command, "gives": list(gives)}
        config = {
            "initial": 1,
            "budget": 1,
            "cycles": 1,
            "data": {"format": "coco", "root": "data"},
            "detector": detector,
            "strategies": ["random"],
        }
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        options = "--dataset=train.json --test-dataset=test.json --labelled=labelled.json --seed=0 --cycle=0"
        arguments = [
            "external",
            "--config=config.yaml",
            *options.split(),
            "--folder=work",
            "--output=out.safetensors",
        ]
        return CliRunner().invoke(mgral, arguments)

    return run


def writing(**files):
    """A command that writes files of results, by the name of their list."""
    given = {"train": [], "pool": [], "test": [], **files}
    lines = [
        f"printf %s {shlex.quote(json.dumps(content))} > {{output}}/{name}.json" for name, content in given.items()
    ]
    return "\n".join([": {train} {pool} {test}", *lines])


def result(image, **changes):
    return {"image_id": image, "category_id": 3, "bbox": [0, 0, 9, 9], "score": 0.5} | changes


def test_results_become_arrays(experiment, tmp_path):
    sure = {"probabilities": [0.25, 0.75]}
    command = writing(pool=[result(3, **sure), result(1, **sure)], train=[result(2, **sure)], test=[result(8)])
    done = experiment(command)
    assert (done.exit_code, done.output) == (0, "")
    found = load_file(tmp_path / "out.safetensors")
    assert found["train.rows"].tolist() == [0, 1, 2]
    assert found["train.distributions"].tolist() == [[0.25, 0.75]] * 3
    assert found["test.rows"].tolist() == [1]
    assert found["test.boxes"].tolist() == [[0, 0, 9, 9]]
    first = (tmp_path / "out.safetensors").read_bytes()
    assert experiment(command).exit_code == 0
    assert (tmp_path / "out.safetensors").read_bytes() == first
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["command.log", "lock", "output"]


def test_faults_of_all_files_are_named_and_nothing_is_written(experiment, tmp_path):
    done = experiment(
        writing(pool=[result(2, probabilities=[0.5, 0.5])], test=[result(8, score=7)]), ["probabilities", "features"]
    )
    assert isinstance(done.exception, InputError)
    message = str(done.exception)
    assert "what detector.command wrote to work/output cannot be used: 3 faults of 3 kinds" in message
    assert "work/output/pool.json: result 0: image_id 2" in message
    assert "work/output/test.json: result 0: score 7" in message
    assert "work/output/features.npz: No such file or directory" in message
    assert not (tmp_path / "out.safetensors").exists()


def test_no_label_of_the_pool_or_the_test_images_changes_what_a_command_is_given(experiment, tmp_path):
    command = writing() + "\ncat {train} {pool} {test} > {output}/seen"
    assert experiment(command).exit_code == 0
    seen = (tmp_path / "work" / "output" / "seen").read_bytes()
    write_json(
        tmp_path / "train.json",
        TRAIN | {"annotations": [box for box in TRAIN["annotations"] if box["image_id"] == 2]},
    )
    write_json(tmp_path / "test.json", TEST | {"annotations": []})
    assert experiment(command).exit_code == 0
    assert (tmp_path / "work" / "output" / "seen").read_bytes() == seen
    assert seen.count(b'"bbox"') == 2
