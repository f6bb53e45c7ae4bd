"""The stages of DVC: the same stages, edges, commands and settings as the Snakemake workflow."""

import json
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from dvc.repo import Repo
from dvc_project import DVC, dvc, dvc_environment, git, make_project
from run_workflow import ROOT, TINY, count_rules, planned, snakemake
from slow import slow
from snakemake.api import SnakemakeApi
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, ResourceSettings
from stopping import kill_group, start_group

from mgral.cli.tools.compare import compare
from mgral.config import load_config
from mgral.engine.dvc_export import dvc_yaml
from mgral.engine.steps import VERSIONS
from mgral.errors import InputError

DEFAULT = yaml.safe_load((ROOT / "params.yaml").read_text())
OTHER = {
    **yaml.safe_load(TINY.read_text()),
    "cycles": 1,
    "seeds": [3, -1],
    "strategies": ["random", "mgral", "llal"],
    "lut": {"variants": 3, "clusters": 2, "refresh": "every_cycle"},
}


SMALL = {**yaml.safe_load(TINY.read_text()), "cycles": 1, "strategies": ["random"], "evaluation": {"nms_iou": 0.5}}


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
def run_by_dvc(tmp_path_factory):
    """A project after `dvc repro` of a small experiment on the stub of the steps, everything committed."""
    folder = tmp_path_factory.mktemp("by_dvc")
    make_project(folder)
    (folder / "params.yaml").write_text(yaml.safe_dump(SMALL))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
        dvc("repro", "--quiet")
        git("add", ".")
        git("commit", "--quiet", "--message", "the small experiment")
    return folder


@pytest.fixture(scope="module")
def run_by_snakemake(run_by_dvc, tmp_path_factory):
    """The same project, whose results were deleted and made by Snakemake."""
    folder = tmp_path_factory.mktemp("by_snakemake")
    shutil.copytree(run_by_dvc, folder, symlinks=True, dirs_exist_ok=True)
    shutil.rmtree(folder / "results")
    done = snakemake(folder, "--cores", "2", "--configfile", "params.yaml", stub=True)
    assert done.returncode == 0, done.stdout
    return folder


@pytest.fixture
def by_dvc(run_by_dvc, tmp_path, monkeypatch):
    """A copy of the project after DVC, as the working directory."""
    return enter(run_by_dvc, tmp_path, monkeypatch)


@pytest.fixture
def by_snakemake(run_by_snakemake, tmp_path, monkeypatch):
    """A copy of the project after Snakemake, as the working directory."""
    return enter(run_by_snakemake, tmp_path, monkeypatch)


def enter(folder: Path, copy: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(folder, copy, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(copy)
    return copy


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
        settings = json.loads(job.params.get("depends_on", "{}"))
        read = {f"{resolved}:{key}" for key in settings if key not in ("type", "step_version")}
        if job.rule.name == "config":
            read = {str(configfile)}
        command = re.sub(r" >>? \S+ 2>&1| --vram-mb \d+", "", job.shellcmd)
        stages[re.sub(r" +", " ", command)] = Stage(
            frozenset(map(str, job.input)) - {resolved},
            frozenset(
                {*map(str, job.output), *([f"{Path(resolved).parent}/.engine"] if job.rule.name == "config" else [])}
            ),
            frozenset(read | {f"mgral/engine/versions.yaml:{job.rule.name}"}),
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


def everything() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}


@slow
def test_snakemake_does_not_start_where_dvc_made_the_results(by_dvc):
    before = everything()
    for options in ((), ("--dry-run",), ("--forceall",)):
        refused = snakemake(by_dvc, "--cores", "1", "--configfile", "params.yaml", *options, stub=True)
        assert refused.returncode == 2
        sentence = (
            "mgral: results/tiny was made by DVC, of which Snakemake knows nothing; run Snakemake in a folder of"
        )
        assert sentence in refused.stdout
        assert "Traceback" not in refused.stdout
        assert everything() == before
    assert dvc_yaml(Path("params.yaml")) == Path("dvc.yaml").read_bytes()  # which is planned by Snakemake
    shutil.rmtree("results")
    assert len(planned(by_dvc, "--configfile", "params.yaml", stub=True)) == len(exported_stages())


def test_dvc_does_not_start_where_snakemake_made_the_results(by_snakemake):
    """Also where only a later stage is to be made anew, whose outputs DVC would delete."""
    scores = Path("results/tiny/seed0/full/cycle0/metrics.json")
    scores.write_text("{}")
    before = everything()
    for options in ((), ("--keep-going",), ("--single-item", "report"), ("config",)):
        refused = subprocess.run(
            [*DVC, "repro", *options], env=dvc_environment(stub=False), text=True, capture_output=True, check=False
        )
        assert refused.returncode != 0
        assert "mgral: results/tiny was made by Snakemake, of which DVC knows nothing; run DVC in a" in refused.stderr
        assert everything() == before
    Path("dvc.lock").unlink()
    assert subprocess.run([*DVC, "repro"], env=dvc_environment(stub=False), check=False).returncode != 0
    assert everything() == before


@pytest.mark.parametrize(
    ("step", "follows"),
    [
        ("evaluate", {"evaluate": 3, "report": 1}),
        ("label", {"label": 1, "detector": 1, "evaluate": 1, "report": 1}),
    ],
)
def test_a_raised_version_reruns_its_step_and_what_follows(by_snakemake, step, follows):
    assert planned(by_snakemake, "--configfile", "params.yaml", stub=True) == []
    raise_version(step)
    assert count_rules(planned(by_snakemake, "--configfile", "params.yaml", stub=True)) == follows


def test_a_raised_version_reruns_its_stages_and_what_follows(by_dvc):
    assert "Data and pipelines are up to date" in dvc("repro")
    raise_version("evaluate")
    ran = re.findall(r"Running stage '(\w+)", dvc("repro"))
    assert Counter(ran) == {"evaluate": 3, "report": 1}
    assert "Data and pipelines are up to date" in dvc("repro")


def raise_version(step: str) -> None:
    """Raise the number of a step in the copy of the code in the working directory."""
    path = Path("mgral/engine/versions.yaml")
    text = path.read_text()
    path.write_text(text.replace(f"\n{step}: {VERSIONS[step]}\n", f"\n{step}: {VERSIONS[step] + 1}\n"))
    assert path.read_text() != text


CHAIN = "evaluate-seed-0-round-strategies-mgral-cycle-1"
"""A stage with every kind of step but `report` before it."""


def repro_until(reached: Callable[[], bool]) -> bool:
    """Run `dvc repro` on the real steps, and kill all of it at a moment; return whether the moment was seen."""
    variables = {**dvc_environment(stub=False), "MGRAL_CHECKPOINT_SECONDS": "0"}
    process = start_group([*DVC, "repro", CHAIN], Path("dvc.log"), variables)
    while not reached():
        if process.poll() is not None:
            assert process.returncode == 0, Path("dvc.log").read_text()
            return False
        time.sleep(0.001)
    kill_group(process)
    return True


def train_until_checkpoint(checkpoint: Path) -> bool:
    """Kill `dvc repro` in a training. Its checkpoint is there for milliseconds, which a busy machine can miss."""
    for _ in range(5):
        if repro_until(checkpoint.exists):
            return True
        for made in ("results", ".dvc/cache"):
            shutil.rmtree(made)
        Path("dvc.lock").unlink()
    return False


@slow
@pytest.mark.timeout(1200)
def test_dvc_makes_the_same_bytes_as_snakemake_though_it_is_killed(project, undisturbed):
    (project / "params.yaml").write_text(TINY.read_text())
    Path("dvc.yaml").write_bytes(dvc_yaml(Path("params.yaml")))
    seed, lock = Path("results/tiny/seed0"), Path("dvc.lock")
    assert train_until_checkpoint(seed / "initial/cycle0/detector.safetensors.checkpoint")
    assert repro_until((seed / "strategies/mgral/cycle0/agent.safetensors").exists)
    assert repro_until((seed / "strategies/mgral/cycle1/labelled.json").exists)
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


def test_push_and_pull_move_every_artefact(by_dvc, tmp_path_factory, monkeypatch):
    remote = tmp_path_factory.mktemp("remote")
    dvc("remote", "add", "--quiet", "--default", "folder", str(remote))
    git("commit", "--quiet", "--all", "--message", "a remote")
    dvc("push", "--quiet")
    clone = tmp_path_factory.mktemp("colleague") / "clone"
    git("clone", "--quiet", str(by_dvc), str(clone))
    monkeypatch.chdir(clone)
    dvc("pull", "--quiet")
    assert artefacts(clone) == artefacts(by_dvc)
    assert "Data and pipelines are up to date" in dvc("repro")


@slow
@pytest.mark.usefixtures("by_dvc")
def test_an_experiment_with_another_setting_runs_what_depends_on_it():
    ran = dvc("exp", "run", "--set-param", "evaluation.nms_iou=0.4")
    assert set(re.findall(r"Running stage '(\w+)", ran)) == {"config", "evaluate", "report"}
    assert yaml.safe_load(Path("results/tiny/config.yaml").read_text())["evaluation"]["nms_iou"] == 0.4
    changes = json.loads(dvc("metrics", "diff", "--json"))
    assert len(changes) == 3
    assert all(change["map"]["old"] != change["map"]["new"] for change in changes.values())


def test_a_configuration_that_snakemake_refuses_is_refused(project):
    (project / "bad.yaml").write_text("data: {format: coco, root: nowhere}\n")
    with pytest.raises(InputError, match=r"there is no folder nowhere; correct data\.root"):
        dvc_yaml(Path("bad.yaml"))
