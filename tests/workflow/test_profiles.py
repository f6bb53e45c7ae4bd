"""The profiles: what each hands to which rules."""

import re
from pathlib import Path

import pytest
import yaml
from run_workflow import ROOT, TINY, snakemake
from squares_project import SquaresProject
from test_workflow import FIDELITY, OF_A_TEACHER, PIPELINE

PROFILES = ROOT / "workflow" / "profiles"
USE_GPU = {"detector", "evaluate", "embed", "pseudo_labels", "base", "variant"}
OF_FIDELITY = {"candidates", "gain"}
OF_PROJECTS = {"pictures", "index", "prelabels", "held_out"}


def read(name):
    return yaml.safe_load((PROFILES / name / "config.yaml").read_text())


def test_gpus_go_to_the_rules_that_compute_on_one():
    of_select = "1 if input.get('detector') else 0"
    rules = USE_GPU | OF_FIDELITY | {"head", "external", "prelabels", "held_out"}
    assert read("slurm")["set-resources"] == {rule: {"gpu": 1} for rule in rules} | {"select": {"gpu": of_select}}


def test_groups_are_of_rules():
    assert set(read("slurm")["groups"]) <= set(PIPELINE)


def test_slurm_profile_plans_a_round_of_a_project(tmp_path):
    project = SquaresProject.make(tmp_path)
    labelled = [project.labelled(number) for number in range(1, 5)]
    config = project.open(1, [project.add(8)], labelled, [project.labelled(5)], strategies=["entropy_sum"])
    done = snakemake(project.folder, "--dry-run", "--profile", PROFILES / "slurm", "--configfile", config)
    assert done.returncode == 0, done.stdout


STRATEGIES = "strategies=[mgral, random, entropy_anchors]"
"""One that chooses by what the detector finds, so on a GPU, and two that do not."""


@pytest.mark.parametrize("change", ["lut={refresh: once}", "lut={refresh: every_cycle}"])
def test_slurm_profile_plans_every_experiment(tmp_path, change):
    """A group that waits for a job that waits for the group is found out here; profiles/default is loaded too."""
    done = snakemake(
        tmp_path, "--dry-run", "--verbose", "--profile", PROFILES / "slurm", "--config", change, STRATEGIES
    )
    assert done.returncode == 0, done.stdout
    assert "workflow specific profile" in done.stdout
    job = r"^ *rule (\w+):\n(?: +.*\n)*?(?: +wildcards: (.*)\n)? +resources: .*gpu=(\d)"
    asked = re.findall(job, done.stdout, flags=re.MULTILINE)
    assert {rule for rule, _, gpus in asked if gpus == "1"} == USE_GPU - OF_A_TEACHER | {"select"}
    queries = [("strategy=entropy_anchors" in wildcards, gpus) for rule, wildcards, gpus in asked if rule == "select"]
    assert set(queries) == {(True, "1"), (False, "0")}
    # Synthetic images and a detector that starts from random weights: nothing is downloaded, or derived.
    assert {rule for rule, _, gpus in asked if gpus == "0"} == set(PIPELINE) - USE_GPU - FIDELITY - OF_PROJECTS - {
        "derive",
        "download",
        "input_size",
        "weights",
        "external",
        "head",
    }


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has an NVIDIA driver")
def test_a_gpu_that_is_not_there_is_said_before_the_first_job(tmp_path):
    run = ("--cores", "1", "--configfile", TINY, "--set-resources", "detector:gpu=1")
    done = snakemake(tmp_path, *run, MGRAL_DEVICE="")
    assert done.returncode == 2, done.stdout
    assert re.search(r"jobs are given 1 GPU .*, but this machine has no NVIDIA driver; .* run without", done.stdout)
    assert not (tmp_path / "results" / "tiny" / "config.yaml").exists()
