"""The stages of DVC: the same stages, edges, commands and settings as the Snakemake workflow."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dvc.repo import Repo
from dvc_project import DVC, dvc, dvc_environment, git, handover, make_project
from run_workflow import ROOT, TINY, count_rules, planned
from slow import slow
from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings
from stopping import kill_group, start_group

from mgral.cli.tools.compare import compare
from mgral.config import load_config
from mgral.engine.dvc_export import dvc_yaml
from mgral.errors import InputError

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
        read = {f"{resolved}:{key}" for key in json.loads(job.params.get("depends_on", "{}")) if key != "type"}
        stages[re.sub(r" +", " ", re.sub(r" 2>>? \S+", "", job.shellcmd))] = Stage(
            frozenset(map(str, job.input)) - {resolved},
            frozenset(map(str, job.output)),
            frozenset(read if job.rule.name != "config" else {str(configfile)}),
        )
    return stages


def exported_stages() -> dict[str, Stage]:
    """What DVC makes of the dvc.yaml in the working directory, by command."""
    stages = {}
    with Repo() as repo:
        for stage in repo.index.stages:
            # Those of an instance alone are tested by hand: tests/workflow/test_workflow.py.
            settings = {
                f"{dep.def_path}:{key}" if dep.params else dep.def_path
                for dep in stage.deps
                if hasattr(dep, "params")
                for key in dep.params or [""]
                if not key.startswith("strategies.")
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
    assert exported_stages() == planned_stages(configfile)


def test_the_committed_dvc_yaml_is_that_of_the_default_experiment(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert Path("dvc.yaml").read_bytes() == dvc_yaml(Path("params.yaml")), (
        "the workflow or params.yaml changed; run: make dvc"
    )


def test_snakemake_has_nothing_to_do_after_dvc(finished):
    configfile = finished / "params.yaml"
    run = (finished, "--configfile", configfile)
    assert planned(*run, stub=True) == []

    # Without the handover Snakemake would not notice the setting. Of `config` it needs to know nothing.
    stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
    assert handover("snakemake") == f"snakemake takes over {len(stages) - 1} stages\n"
    settings = yaml.safe_load(configfile.read_text())
    settings["agent"]["learning_rate"] = 0.5
    configfile.write_text(yaml.safe_dump(settings))
    affected = {"agent": 2, "select": 2, "label": 2, "detector": 2, "evaluate": 2, "report": 1}
    assert count_rules(planned(*run, stub=True)) == affected

    repeated = set(re.findall(r"Running stage '(\w+)", dvc("repro")))
    assert repeated == {"config", *affected}
    assert handover("snakemake") == f"snakemake takes over {sum(affected.values())} stages\n"
    assert planned(*run, stub=True) == []
    assert handover("snakemake") == "snakemake has nothing to take over\n"
    assert "Data and pipelines are up to date" in dvc("repro")


CHAIN = "evaluate-seed-0-round-strategies-mgral-cycle-1"
"""A stage with every kind of step but `report` before it."""


def repro_until(reached: Callable[[], bool]) -> None:
    """Run `dvc repro` on the real steps, and kill all of it at a moment."""
    variables = {**dvc_environment(stub=False), "MGRAL_CHECKPOINT_SECONDS": "0"}
    process = start_group([*DVC, "repro", CHAIN], Path("dvc.log"), variables)
    while not reached():
        assert process.poll() is None, Path("dvc.log").read_text()
        time.sleep(0.001)
    kill_group(process)


@pytest.mark.timeout(1200)
def test_dvc_makes_the_same_bytes_as_snakemake_though_it_is_killed(project, undisturbed):
    (project / "params.yaml").write_text(TINY.read_text())
    Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
    seed, lock = Path("results/tiny/seed0"), Path("dvc.lock")
    repro_until((seed / "initial/cycle0/detector.safetensors.checkpoint").exists)
    repro_until((seed / "strategies/mgral/cycle0/agent.safetensors").exists)
    repro_until((seed / "strategies/mgral/cycle1/labelled.json").exists)
    lock.write_bytes(b"")  # as a kill leaves it while DVC is writing it
    stopped = subprocess.run([*DVC, "repro", "config"], text=True, capture_output=True, check=False)
    assert stopped.returncode
    assert "dvc.lock' validation failed" in stopped.stderr
    lock.unlink()
    said = dvc("repro", CHAIN, stub=False)
    assert "Stage 'agent-seed-0-strategy-mgral-cycle-0' is cached - skipping run" in said
    found = compare(project / "results" / "tiny", undisturbed / "results" / "tiny")
    assert found.different == []
    assert f"{seed.name}/strategies/mgral/cycle1/metrics.json" in found.identical
    assert len(found.identical) > 20
    assert not list(Path("results").rglob("*.checkpoint"))


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


@slow
def test_an_experiment_with_another_setting_runs_what_depends_on_it(finished):
    ran = dvc("exp", "run", "--set-param", "agent.episodes=4")
    repeated = set(re.findall(r"Running stage '(\w+)", ran))
    assert repeated == {"config", "agent", "select", "label", "detector", "evaluate", "report"}
    assert yaml.safe_load(Path("results/tiny/config.yaml").read_text())["agent"]["episodes"] == 4
    changes = json.loads(dvc("metrics", "diff", "--json"))
    assert set(changes) == {f"results/tiny/seed0/strategies/mgral/cycle{cycle}/metrics.json" for cycle in (1, 2)}
    assert all(change["map"]["old"] != change["map"]["new"] for change in changes.values())


def test_a_configuration_that_snakemake_refuses_is_refused(project):
    (project / "bad.yaml").write_text("data: {format: coco, root: nowhere}\n")
    with pytest.raises(InputError, match=r"there is no folder nowhere; correct data\.root"):
        dvc_yaml(Path("bad.yaml"))
