"""The DVC mirror: the same stages, edges, commands and settings as the Snakemake workflow."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dvc.repo import Repo
from run_workflow import ROOT, TINY, snakemake
from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings

from mgral.cli import THREADS
from mgral.config import load_config
from mgral.errors import InputError
from mgral.mirror import dvc_yaml
from mgral.steps.compare import compare

DEFAULT = yaml.safe_load((ROOT / "params.yaml").read_text())
OTHER = {
    **yaml.safe_load(TINY.read_text()),
    "cycles": 1,
    "seeds": [3, -1],
    "strategies": ["random", "mgral"],
    "lut": {"variants": 3, "clusters": 2, "refresh": "every_cycle"},
}


class Stage(NamedTuple):
    inputs: frozenset[str]
    outputs: frozenset[str]
    settings: frozenset[str]


def make_project(folder: Path) -> None:
    """Make a folder with the workflow in it and nothing else, as a repository of Git and of DVC."""
    for name in ("Snakefile", "workflow", "profiles"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".gitignore").write_text("/results/\n/.cache/\n/.snakemake/\n")
    for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
        subprocess.run(command, check=True, cwd=folder)
    (folder / ".dvc" / "config").write_text((ROOT / ".dvc" / "config").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project in which nothing has run, as the working directory."""
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """A project after `dvc repro` of the tiny experiment on the stub of the steps, everything committed."""
    folder = tmp_path_factory.mktemp("tiny_run")
    make_project(folder)
    (folder / "params.yaml").write_text(TINY.read_text())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
        dvc("repro", "--quiet")
        git("add", ".")
        git("commit", "--quiet", "--message", "the tiny experiment")
    return folder


@pytest.fixture
def finished(tiny_run, tmp_path, monkeypatch):
    """A copy of that project, as the working directory."""
    shutil.copytree(tiny_run, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def dvc(*arguments: str, stub: bool = True) -> str:
    """Run DVC on the real steps or on the stub of them."""
    steps = Path(sys.executable).parent
    path = f"{ROOT / 'tests' / 'stub'}:{steps}" if stub else str(steps)
    variables = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}"}
    for name in THREADS:  # which pytest is given, and a user's shell is not
        variables.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], env=variables, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def git(*arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def planned_stages(configfile: Path) -> dict[str, Stage]:
    """The jobs of Snakemake's own DAG, by command."""
    config = load_config(configfile)
    resolved = f"results/{config.experiment}/config.yaml"
    with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
        workflow = api.workflow(
            ResourceSettings(cores=1),
            config_settings=ConfigSettings(configfiles=[configfile.resolve()]),
            snakefile=Path("Snakefile"),
        )
        workflow.dag(DAGSettings(forceall=True)).execute_workflow(executor="dryrun")
        jobs = [job for job in workflow._workflow.dag.jobs if job.rule.name != "all"]
    stages = {}
    for job in jobs:
        read = {f"{resolved}:{key}" for key in json.loads(job.params.get("depends_on", "{}"))}
        stages[re.sub(r" +", " ", re.sub(r" 2>>? \S+", "", job.shellcmd))] = Stage(
            frozenset(map(str, job.input)) - {resolved},
            frozenset(map(str, job.output)),
            frozenset(read if job.rule.name != "config" else {str(configfile)}),
        )
    return stages


def mirrored_stages() -> dict[str, Stage]:
    """What DVC makes of the dvc.yaml in the working directory, by command."""
    stages = {}
    with Repo() as repo:
        for stage in repo.index.stages:
            settings = {
                f"{dep.def_path}:{key}" if dep.params else dep.def_path
                for dep in stage.deps
                if hasattr(dep, "params")
                for key in dep.params or [""]
            }
            inputs = {dep.def_path for dep in stage.deps if not hasattr(dep, "params")}
            outputs = {out.def_path for out in stage.outs}
            assert stage.cmd not in stages
            stages[stage.cmd] = Stage(frozenset(inputs), frozenset(outputs), frozenset(settings))
    return stages


@pytest.mark.parametrize(
    "values", [yaml.safe_load((ROOT / "params.yaml").read_text()), OTHER], ids=["default", "other"]
)
@pytest.mark.usefixtures("project")
def test_the_two_engines_plan_the_same(values):
    configfile = Path("experiment.yaml")
    configfile.write_text(yaml.safe_dump(values))
    Path("dvc.yaml").write_bytes(dvc_yaml(configfile))
    assert mirrored_stages() == planned_stages(configfile)


def test_the_committed_mirror_is_that_of_the_default_experiment(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert Path("dvc.yaml").read_bytes() == dvc_yaml(Path("params.yaml")), (
        "the workflow or params.yaml changed; run: make mirror"
    )


def test_each_engine_has_nothing_to_do_after_the_other(finished):
    configfile = finished / "params.yaml"
    plan = snakemake(finished, "--dry-run", "--configfile", configfile, stub=True)
    assert "Nothing to be done" in plan.stdout, plan.stdout

    settings = yaml.safe_load(configfile.read_text())
    settings["agent"]["learning_rate"] = 0.5
    configfile.write_text(yaml.safe_dump(settings))
    repeated = set(re.findall(r"Running stage '(\w+)", dvc("repro")))
    assert repeated == {"config", "agent", "select", "label", "detector", "evaluate", "report"}
    assert "Nothing to be done" in snakemake(finished, "--dry-run", "--configfile", configfile, stub=True).stdout

    settings["agent"]["learning_rate"] = 0.25
    configfile.write_text(yaml.safe_dump(settings))
    done = snakemake(finished, "--cores", "2", "--configfile", configfile, stub=True)
    assert done.returncode == 0, done.stdout
    dvc("commit", "--force", "--no-relink")
    assert "Data and pipelines are up to date" in dvc("repro")
    assert "Nothing to be done" in snakemake(finished, "--dry-run", "--configfile", configfile, stub=True).stdout


@pytest.mark.timeout(900)
def test_dvc_makes_the_same_bytes_as_snakemake(project, undisturbed):
    (project / "params.yaml").write_text(TINY.read_text())
    Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
    dvc("repro", "--quiet", stub=False)
    found = compare(project / "results" / "tiny", undisturbed / "results" / "tiny")
    assert found.different == found.missing == []
    assert len(found.identical) > 80


def artefacts(folder: Path) -> dict[Path, bytes]:
    results = folder / "results" / "tiny"
    return {path.relative_to(results): path.read_bytes() for path in results.rglob("*") if path.is_file()}


def test_push_and_pull_move_every_artefact(finished, tmp_path_factory, monkeypatch):
    remote = tmp_path_factory.mktemp("remote")
    dvc("remote", "add", "--quiet", "--default", "folder", str(remote))
    git("commit", "--quiet", "--all", "--message", "a remote")
    dvc("push", "--quiet")
    clone = tmp_path_factory.mktemp("colleague") / "clone"
    git("clone", "--quiet", str(finished), str(clone))
    monkeypatch.chdir(clone)
    dvc("pull", "--quiet")
    assert artefacts(clone) == artefacts(finished)
    assert "Data and pipelines are up to date" in dvc("repro")


def test_an_experiment_with_another_setting_runs_what_depends_on_it(finished):
    ran = dvc("exp", "run", "--set-param", "agent.episodes=4")
    repeated = set(re.findall(r"Running stage '(\w+)", ran))
    assert repeated == {"config", "agent", "select", "label", "detector", "evaluate", "report"}
    assert yaml.safe_load(Path("results/tiny/config.yaml").read_text())["agent"]["episodes"] == 4


def test_a_configuration_that_snakemake_refuses_is_refused(project):
    (project / "bad.yaml").write_text("data: {format: coco, root: nowhere}\n")
    with pytest.raises(InputError, match=r"there is no folder nowhere; correct data\.root"):
        dvc_yaml(Path("bad.yaml"))
