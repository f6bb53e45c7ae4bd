"""Jobs as Snakemake plans them."""

import re
from pathlib import Path

import pytest
import yaml
from dvc_project import make_project

from mgral.engine.dvc_export import dvc_yaml, stage_name
from mgral.engine.plan import PlannedJob, plan_all, plan_jobs
from mgral.errors import InputError, StepError

SNAKEFILE = """
NAMES = ["run-2/cycle10", "run-2/cycle9", "2"]

rule all:
    input:
        expand("out/{name}/last, of all.txt", name=NAMES),

rule first:
    output:
        "first, and only.txt",
    resources:
        gpu=1,
    shell:
        "touch {output:q}"

rule last:
    input:
        "first, and only.txt",
        [f"{number}.txt" for number in range(500)],
    output:
        "out/{name}/last, of all.txt",
        "out/{name}/a.txt",
    log:
        "logs/{name}.log",
    shell:
        "cat {input} > {output[1]:q} > {log} 2>&1 && touch {output[0]:q} >> {log} 2>&1"
"""


@pytest.fixture
def workflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small workflow in the working directory, whose given files are there."""
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    for number in range(500):
        (tmp_path / f"{number}.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def by_name(jobs: list[PlannedJob]) -> dict[tuple[str, ...], PlannedJob]:
    return {(job.rule, *job.wildcards.values()): job for job in jobs}


@pytest.mark.usefixtures("workflow")
def test_jobs_are_whole() -> None:
    jobs = by_name(plan_jobs())
    assert set(jobs) == {("first",), ("last", "2"), ("last", "run-2/cycle9"), ("last", "run-2/cycle10")}
    first, last = jobs["first",], jobs["last", "run-2/cycle9"]
    assert first.outputs == ("first, and only.txt",)
    assert first.command == "touch 'first, and only.txt'"
    assert first.resources["gpu"] == 1
    assert (first.inputs, first.logs, first.wildcards) == ((), (), {})
    assert last.wildcards == {"name": "run-2/cycle9"}
    assert last.inputs == ("first, and only.txt", *(f"{number}.txt" for number in range(500)))
    assert last.outputs == ("out/run-2/cycle9/a.txt", "out/run-2/cycle9/last, of all.txt")
    assert last.logs == ("logs/run-2/cycle9.log",)
    given = " ".join(last.inputs)
    assert last.command_without_log == (
        f"cat {given} > out/run-2/cycle9/a.txt && touch 'out/run-2/cycle9/last, of all.txt'"
    )


def test_jobs_are_those_that_would_run_now(workflow: Path) -> None:
    (workflow / "first, and only.txt").touch()
    jobs = [job.rule for job in plan_jobs("out/2/a.txt", "--quiet", "all")]
    assert jobs == ["last"]
    assert sorted(job.rule for job in plan_jobs("--forceall")) == ["first", "last", "last", "last"]


@pytest.mark.usefixtures("workflow")
def test_jobs_of_a_group_are_read_one_by_one() -> None:
    assert by_name(plan_jobs("--groups", "first=one", "last=one")) == by_name(plan_jobs())


def test_what_fails_is_an_error_with_its_reason(workflow: Path) -> None:
    (workflow / "0.txt").unlink()
    with pytest.raises(StepError, match=r"(?s)Missing input files .*0\.txt"):
        plan_jobs()
    (workflow / "Snakefile").write_text(
        'import sys\nprint("mgral: data: correct it", file=sys.stderr)\nsys.exit(2)\n'
    )
    with pytest.raises(InputError, match=r"^data: correct it$"):
        plan_jobs()


def test_each_job_has_a_stage_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    names = ("a-1", "a_1", "a-1-cycle-1", "1", "full", "initial", "strategies", "10", "mgral")
    strategies = {name: {"type": "random"} for name in names} | {"2": {"type": "mgral", "lut": {"splits": 1}}}
    values = {"strategies": strategies, "seeds": [0, -1], "cycles": 2, "lut": {"variants": 10, "variants_per_job": 1}}
    configfile = Path("experiment.yaml")
    configfile.write_text(yaml.safe_dump(values))
    jobs, stages = plan_all(configfile), yaml.safe_load(dvc_yaml(configfile))["stages"]
    assert len(stages) == len(jobs)
    assert set(stages) == {stage_name(job) for job in jobs}
    assert not [name for name in stages if not re.fullmatch(r"[\w-]+", name)]
    variants = [name for name in stages if name.startswith("variant-seed-0-")]
    assert [int(name.rpartition("-")[2]) for name in variants] == list(range(11))


def test_near_copies_are_given_to_strategies_that_require_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_project(tmp_path)
    monkeypatch.chdir(tmp_path)
    configfile = Path("experiment.yaml")
    strategies = {"random": {}, "apart": {"type": "random_no_copies"}}
    configfile.write_text(yaml.safe_dump({"experiment": "e", "strategies": strategies, "seeds": [0], "cycles": 1}))
    groups = "results/e/dataset/groups.json"
    chosen = {job.wildcards["strategy"]: job for job in plan_all(configfile) if job.rule == "select"}
    stages = yaml.safe_load(dvc_yaml(configfile))["stages"]
    for name, expected in (("random", False), ("apart", True)):
        job = chosen[name]
        assert (groups in job.inputs, f"--groups {groups}" in job.command) == (expected, expected)
        assert (groups in stages[stage_name(job)]["deps"]) == expected
