"""The container that jobs run in: what is refused before a job starts, and, with an image, the same bytes inside."""

import json
import os
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
from installing import install_project
from run_workflow import TINY, snakemake
from squares_project import SquaresProject

from mgral.artefacts.commit import commit
from mgral.cli.tools.compare import compare
from mgral.config import resolve_config
from mgral.engine.container import ARITHMETIC, check_command, check_image, container_environment, shell_inside
from mgral.engine.provenance import version
from mgral.engine.steps import VERSIONS
from mgral.errors import InputError
from mgral.training.external import run_command

IMAGE = os.environ.get("MGRAL_SIF")
"""A SIF of this very code, as `make container` makes it."""
WHERE = "no image: make container builds one and runs this test in it"

APPTAINER = """#!/bin/sh
[ "$1" = --version ] && echo "apptainer version 1.4.5" && exit
echo "$@" >>"{folder}/calls"
{answer}
"""


@pytest.fixture
def image(tmp_path):
    """A file for the Apptainer of `installed` to run."""
    path = tmp_path / "mgral.sif"
    path.touch()
    return path


def installed(folder: Path, answer: str) -> str:
    """Make an Apptainer that answers every `exec` alike, and return a PATH with it in front."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "apptainer").write_text(APPTAINER.format(folder=folder, answer=answer))
    (programs / "apptainer").chmod(0o755)
    return f"{programs}:{os.environ['PATH']}"


def test_an_image_with_this_code_will_do(tmp_path, image, monkeypatch, capsys):
    monkeypatch.setenv("PATH", installed(tmp_path, f"echo '{version()}'"))
    check_image(image)
    assert capsys.readouterr().err == ""
    assert f"exec --cleanenv {image} mgral --version" in (tmp_path / "calls").read_text()


def test_an_image_may_hold_further_plug_ins(tmp_path, image, monkeypatch):
    monkeypatch.setenv("PATH", installed(tmp_path, f"echo '{version()}'; echo 'plug-in another 1.0'"))
    check_image(image)


def test_an_image_of_another_commit_is_used_with_a_line(tmp_path, image, monkeypatch, capsys):
    other = version().replace(f"commit {commit()}", "commit 0123abc")
    monkeypatch.setenv("PATH", installed(tmp_path, f"echo '{other}'"))
    check_image(image)
    expected = f"mgral: container.image: {image} is of commit 0123abc and the code here of commit {commit()}\n"
    assert capsys.readouterr().err == expected


def test_an_image_of_another_version_of_a_step_is_refused(tmp_path, image, monkeypatch):
    monkeypatch.setitem(VERSIONS, "detector", VERSIONS["detector"] + 1)
    here = version()
    monkeypatch.undo()
    monkeypatch.setenv("PATH", installed(tmp_path, f"echo '{here}'"))
    with pytest.raises(InputError, match=rf"lacks what is here: steps: .*detector {VERSIONS['detector']}, .*It has"):
        check_image(image)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("echo 'mgral 0.0.1'", "lacks what is here: mgral .*It has: mgral 0.0.1. Build it again"),
        ("echo 'FATAL: \"mgral\": executable file not found in $PATH' >&2; exit 255", "runs no mgral .*not found"),
        ("exit 1", "runs no mgral .no message.; build it again: make image, in a clone"),
    ],
)
def test_an_image_without_it_is_refused(tmp_path, image, monkeypatch, answer, message):
    monkeypatch.setenv("PATH", installed(tmp_path, answer))
    with pytest.raises(InputError, match=message):
        check_image(image)


def test_apptainer_is_needed(tmp_path, image, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="needs Apptainer, which is not on the PATH; install it"):
        check_image(image)


def test_a_missing_image_ends_with_2_and_writes_nothing(tmp_path):
    path = installed(tmp_path, "true")
    run = ("--cores", "1", "--use-singularity", "--configfile", TINY, "--config", "container={image: none.sif}")
    done = snakemake(tmp_path, *run, PATH=path)
    assert done.returncode == 2
    assert "container.image: there is no file none.sif; build it (make image, in a clone)" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


def test_an_image_from_a_registry_is_looked_at_once_it_is_here(tmp_path):
    answer = 'case "$*" in *mgral*) echo "mgral 0.0.1";; *) touch "$3";; esac'  # pull --name FILE URL
    run = ("--cores", "1", "--use-singularity", "--configfile", TINY, "--config", "container={image: docker://a/b}")
    done = snakemake(tmp_path, *run, PATH=installed(tmp_path, answer))
    assert done.returncode == 2
    assert "It has: mgral 0.0.1. Build it again" in done.stdout
    assert not (tmp_path / "results" / "tiny" / "config.yaml").exists()


def test_an_image_from_a_registry_is_pulled_and_used(tmp_path):
    answer = f"""case "$*" in
    pull*) touch "$3" ;;
    *--version) echo "{version()}" ;;
    *) echo "a job in $APPTAINER_BIND"; exit 3 ;;
    esac"""
    run = ("--cores", "1", "--use-singularity", "--configfile", TINY, "--config", "container={image: docker://a/b}")
    done = snakemake(tmp_path, *run, PATH=installed(tmp_path, answer))
    assert done.returncode == 1
    assert "mgral config" in (tmp_path / "calls").read_text().splitlines()[-1]


def test_the_image_is_no_part_of_the_results():
    config = resolve_config({"container": {"image": "mgral.sif"}})
    assert config.container.image == "mgral.sif"
    assert "container" not in config.model_dump()


def test_what_is_read_outside_the_working_directory_is_shown_inside(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("APPTAINER_BIND", *ARITHMETIC))]:
        monkeypatch.delenv(name)
    here, elsewhere = tmp_path / "params.yaml", Path("/settings/mine.yaml")
    assert container_environment(resolve_config({}), [here]) == {"APPTAINER_BIND": ""}
    config = resolve_config({"data": {"format": "voc", "root": "/data/voc"}})
    shown = "/data/voc:/data/voc:ro,/settings/mine.yaml:/settings/mine.yaml:ro"
    assert container_environment(config, [here, elsewhere]) == {"APPTAINER_BIND": shown}
    monkeypatch.setenv("APPTAINER_BIND", "/scratch")
    assert container_environment(config, [here, elsewhere]) == {"APPTAINER_BIND": f"/scratch,{shown}"}
    for root, shown in (("voc", "/scratch"), ("../voc", f"/scratch,{tmp_path.parent}/voc:{tmp_path.parent}/voc:ro")):
        config = resolve_config({"data": {"format": "voc", "root": root}})
        assert container_environment(config, [here]) == {"APPTAINER_BIND": shown}
    given = {"name": "transformers", "checkpoint": "/models/detr", "architecture": {"model_type": "detr"}}
    config = resolve_config({"detector": given})
    assert container_environment(config, [here]) == {"APPTAINER_BIND": "/scratch,/models/detr:/models/detr:ro"}


def test_variables_that_change_last_bits_are_set_inside_too(monkeypatch):
    monkeypatch.delenv("APPTAINER_BIND", raising=False)
    for name in [name for name in os.environ if name.startswith(ARITHMETIC)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    shown = container_environment(resolve_config({}), [])
    assert shown == {"APPTAINER_BIND": "", "APPTAINERENV_OPENBLAS_CORETYPE": "Haswell"}


@pytest.mark.skipif(IMAGE is None, reason=WHERE)
def test_the_image_says_what_it_is():
    labels = subprocess.run(["apptainer", "inspect", str(IMAGE)], text=True, capture_output=True, check=True).stdout
    assert f"org.opencontainers.image.version: {metadata.version('mgral')}" in labels
    assert f"org.opencontainers.image.revision: {commit()}" in labels


@pytest.mark.skipif(IMAGE is None, reason=WHERE)
def test_the_image_holds_what_jobs_need_and_no_more():
    found = "command -v python && command -v mgral"
    script = f"{found} && ! command -v gcc && ! test -e /build && ! find / -xdev -name .cache | grep ."
    command = ["apptainer", "exec", "--containall", str(IMAGE), "sh", "-c", script]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["/opt/mgral/bin/python", "/opt/mgral/code/bin/mgral"]


@pytest.mark.timeout(1800)
@pytest.mark.skipif(IMAGE is None, reason=WHERE)
@pytest.mark.parametrize("arguments", ["", "--cleanenv --containall"])
def test_the_same_bytes_inside(undisturbed, tmp_path, arguments):
    options = ("--use-singularity", "--singularity-args", arguments) if arguments else ("--use-singularity",)
    done = snakemake(
        tmp_path, "--cores", "2", *options, "--configfile", TINY, "--config", f"container={{image: {IMAGE}}}"
    )
    assert done.returncode == 0, done.stdout
    found = compare(tmp_path / "results" / "tiny", undisturbed / "results" / "tiny")
    assert found.different == found.missing == []
    record = json.loads((tmp_path / "results/tiny/provenance/report.html.json").read_text())
    assert record["machine"]["container"] == Path(str(IMAGE)).name


@pytest.mark.timeout(1800)
@pytest.mark.skipif(IMAGE is None, reason=WHERE)
def test_a_plug_in_of_the_image_chooses(tmp_path):
    """`make container` builds the image --with examples/plugin_strategy; here it is installed for the plan."""
    install_project(tmp_path / "packages")
    strategies = "strategies={random: {}, bright: {type: brightness}}"
    asked = ("--config", f"container={{image: {IMAGE}}}", "cycles=1", strategies)
    options = ("--use-singularity", "--singularity-args", "--cleanenv --containall")
    run = ("--cores", "2", *options, "--configfile", TINY, *asked)
    done = snakemake(tmp_path, *run, PYTHONPATH=str(tmp_path / "packages"))
    assert done.returncode == 0, done.stdout
    folder = tmp_path / "results" / "tiny"
    record = json.loads((folder / "provenance/seed0/strategies/bright/cycle0/selection.json.json").read_text())
    assert record["machine"]["container"] == Path(str(IMAGE)).name
    assert record["packages"]["mgral-brightness"] == "1.0"


@pytest.mark.timeout(900)
@pytest.mark.skipif(IMAGE is None, reason=WHERE)
def test_a_round_of_a_project_inside(tmp_path):
    """Its pictures lie in a folder beside the project, which is shown inside."""
    project = SquaresProject.make(tmp_path / "first")
    config = project.open(1, [project.add(12)], strategies=["typiclust"])
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    folders = [tmp_path / name / "project" for name in ("first", "second")]
    inside = ("--use-singularity", "--config", f"container={{image: {IMAGE}}}")
    for folder, options in zip(folders, (inside, ()), strict=True):
        done = snakemake(folder, "--cores", "2", *options, "--configfile", config)
        assert done.returncode == 0, done.stdout
    (pixels,) = (folders[0] / "results" / "pictures").iterdir()
    for name in ("round1", f"pictures/{pixels.name}"):
        found = compare(folders[0] / "results" / name, folders[1] / "results" / name)
        assert found.different == found.missing == []


PASSES_ON = 'while [ "$1" != sh ]; do shift; done; exec "$@"'
"""What an Apptainer does that runs its shell here."""


def test_a_command_runs_in_its_own_image(tmp_path, image, monkeypatch):
    """Wherever the pictures are, they are there inside; the GPUs where the job has one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", installed(tmp_path, PASSES_ON))
    shell = shell_inside(str(image), [Path("../elsewhere")], gpus=1)
    output = run_command("echo inside > {output}/where", {}, tmp_path / "work", seed=0, shell=shell)
    assert (output / "where").read_text() == "inside\n"
    pictures = tmp_path.parent / "elsewhere"
    call = f"--silent exec --home {tmp_path} --nv --bind {pictures}:{pictures}:ro {image} sh -e -c echo inside > "
    assert (tmp_path / "calls").read_text().startswith(call)
    assert shell_inside(str(image), [Path("data")], gpus=0)[1:] == [
        "--silent",
        "exec",
        "--home",
        str(tmp_path),
        str(image),
        "sh",
    ]


def test_a_command_whose_image_is_not_there_is_refused_before_the_first_job(tmp_path, image, monkeypatch):
    def detector(container):
        command = "detect {train} {test} {output}"
        section = {"name": "external", "command": command, "container": container}
        return resolve_config({"detector": section, "strategies": ("random",)}).detector

    monkeypatch.setenv("PATH", installed(tmp_path, "true"))
    for container in (None, str(image), "docker://somebody/detector"):
        check_command(detector(container))
    with pytest.raises(InputError, match=r"detector\.container: there is no file /no\.sif; correct the path"):
        check_command(detector("/no.sif"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"detector\.container needs Apptainer, which is not on the PATH"):
        check_command(detector(str(image)))
    check_command(detector(None))
