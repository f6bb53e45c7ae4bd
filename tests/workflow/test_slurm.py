"""The tiny experiment on a real Slurm of two nodes with a pretended GPU each, one of which dies in the middle."""

import re
import shutil
import sys
import time
from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import pytest
from run_workflow import ROOT, TINY, snakemake
from slow import full, slow
from slurm_cluster import EXECUTOR, PATH, PROGRAMS, Cluster, Job, slurm_cluster
from squares_project import SquaresProject
from stopping import kill_group, start_group

from mgral.cli.tools.compare import compare

MISSING = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
pytestmark = [
    slow,
    pytest.mark.skipif(
        bool(MISSING), reason=f"NOT TESTED ON A CLUSTER, no {', '.join(MISSING)} here: run `make slurm`"
    ),
    pytest.mark.timeout(2400),
]

# Up to the first query, with variants long enough to be killed in the middle of, each a job of its own.
EXPERIMENT = (
    "results/tiny/seed0/strategies/mgral/cycle0/selection.json",
    "results/tiny/seed0/initial/cycle0/metrics.json",
    "--configfile",
    str(TINY),
    "--config",
    "strategies=[mgral]",
    "cycles=1",
    "lut={labels: pseudo_labels, variants: 3, variants_per_job: 1}",
    "iterations={variant: 150}",
)
USE_GPU = {"detector", "evaluate", "pseudo_labels", "variant", "variants_start_base_embed_subsets"}
"""Rules, and a group with the names of its rules, of which two use the GPU."""


class Run(NamedTuple):
    """What is left of a run on the cluster."""

    folder: Path
    jobs: list[Job]
    killed: int
    """Number of the job that was on the killed node."""


def rule(job: Job) -> str:
    """Return the rule or group that a job is of."""
    return re.fullmatch(r"(?:rule|group)_(.+?)(?:_wildcards_.*)?", job.name)[1]


def training_variant(cluster: Cluster, folder: Path) -> Job | None:
    """Return the job of a variant that is half trained, if there is one."""
    for checkpoint in folder.rglob("split*/variants*.checkpoint"):
        first, last = re.findall(r"\d+", checkpoint.name)
        for job in cluster.jobs():
            if job.state == "RUNNING" and rule(job) == "variant" and job.name.endswith(f"_{first}_{last}"):
                return job
    return None


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    results = tmp_path_factory.mktemp("run")
    with slurm_cluster(folder) as cluster:
        variables = {
            **cluster.environment,
            "XDG_CACHE_HOME": str(results / ".cache"),
            "MGRAL_DEVICE": "cpu",
            "MGRAL_CHECKPOINT_SECONDS": "0.1",
        }
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *EXECUTOR, *EXPERIMENT]
        log = results / "snakemake.log"
        process = start_group(command, log, variables, results)
        try:
            while process.poll() is None and (killed := training_variant(cluster, results)) is None:
                time.sleep(0.05)
            assert process.poll() is None, log.read_text()
            cluster.kill_node(killed.node)
            assert list(results.rglob("split*/variants*.checkpoint"))
            cluster.start_node(killed.node)
            assert process.wait() == 0, log.read_text()
        finally:
            if process.poll() is None:
                kill_group(process)
        return Run(results, cluster.jobs(), killed.number)


@full
def test_a_round_of_a_project_makes_the_same_bytes(tmp_path):
    project = SquaresProject.make(tmp_path / "first")
    chunk = project.add(12)
    labelled = [project.labelled(number) for number in range(1, 7)]
    config = project.open(1, [chunk], labelled, [project.labelled(7)], strategies=["entropy_sum"])
    shutil.copytree(tmp_path / "first", tmp_path / "second")
    folders = [tmp_path / name / "project" for name in ("first", "second")]
    with slurm_cluster(tmp_path) as cluster:
        variables = {**cluster.environment, "XDG_CACHE_HOME": str(tmp_path), "MGRAL_DEVICE": "cpu"}
        command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", *EXECUTOR]
        log = tmp_path / "log"
        process = start_group([*command, "--configfile", config], log, variables, folders[0])
        assert process.wait() == 0, log.read_text()
        assert {job.state for job in cluster.jobs()} == {"COMPLETED"}
    done = snakemake(folders[1], "--cores", "2", "--configfile", config)
    assert done.returncode == 0, done.stdout
    (pixels,) = (folders[0] / "results" / "pictures").iterdir()
    for name in ("round1", f"pictures/{pixels.name}"):
        found = compare(folders[0] / "results" / name, folders[1] / "results" / name)
        assert found.different == found.missing == []


def test_jobs_share_two_gpus(run):
    assert {rule(job) for job in run.jobs if job.gpus} == USE_GPU
    assert not {rule(job) for job in run.jobs if not job.gpus} & USE_GPU
    # Slurm's times are rounded down to the second, which may hide an overlap but makes none: the end counts first.
    events = sorted([(job.start, job.gpus) for job in run.jobs] + [(job.end, -job.gpus) for job in run.jobs])
    assert max(accumulate(gpus for _, gpus in events)) == 2


def test_a_killed_node_costs_its_job_alone(run):
    assert {job.number: job.state for job in run.jobs if job.state != "COMPLETED"} == {run.killed: "NODE_FAIL"}
    submitted = Counter(job.name for job in run.jobs)
    again = submitted.pop(next(job.name for job in run.jobs if job.number == run.killed))
    assert again == 2
    assert set(submitted.values()) == {1}


def test_the_cluster_makes_the_same_bytes(run, tmp_path):
    done = snakemake(tmp_path, "--cores", "2", *EXPERIMENT)
    assert done.returncode == 0, done.stdout
    found = compare(run.folder / "results" / "tiny", tmp_path / "results" / "tiny")
    assert found.different == found.missing == []
    assert not list((run.folder / "results").rglob("*.checkpoint"))
