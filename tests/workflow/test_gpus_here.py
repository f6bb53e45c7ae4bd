"""A machine's GPUs are used without being asked for, on the stub of all steps and a stand-in for the driver."""

import re
from collections import Counter
from pathlib import Path

import pytest
from run_workflow import ROOT, TINY, jobs_planned, snakemake
from slow import slow
from test_profiles import PROFILES, USE_GPU

from mgral.compute.gpus import VISIBLE, Card
from mgral.engine.devices import Devices

RUN = ("--cores", "2", "--configfile", TINY)
PLAN = ("--dry-run", "--printshellcmds", "--configfile", TINY)
DETECTOR = "results/tiny/seed0/full/cycle0/detector.safetensors"
TWO = "GPU-a:16000,GPU-b:8000"
TRAINING = 2018
"""MiB of a training of the tiny experiment."""


ON_GPU = USE_GPU - {"pseudo_labels"}
"""Steps of the tiny experiment that compute on a GPU: its variants learn labels."""


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests/support/driver"))
    monkeypatch.setenv("STAND_IN_CARDS", TWO)
    for name in (VISIBLE, "MGRAL_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def gpus_by_step(printed: str) -> dict[str, set[str]]:
    """Return the numbers of GPUs that the jobs of each step are given."""
    found: dict[str, set[str]] = {}
    for step, gpus in re.findall(r"mgral (\w+) .*?--gpus (\d+)", printed):
        found.setdefault(step, set()).add(gpus)
    return found


def test_every_step_that_can_use_a_gpu_gets_one(tmp_path: Path) -> None:
    printed = snakemake(tmp_path, *PLAN).stdout
    assert gpus_by_step(printed) == {step: {"1"} for step in ON_GPU} | {"agent": {"0"}, "select": {"0", "1"}}
    asked = Counter(re.findall(r"mgral select .*--strategy (\w+) .*--gpus (\d)", printed))
    assert {strategy for (strategy, gpus), _ in asked.items() if gpus == "1"} == {"entropy_anchors"}
    assert set(re.findall(r"mgral (?:detector|variant) .*--vram-mb (\d+)", printed)) == {str(TRAINING)}


def test_the_longest_training_alone_can_be_given_two_gpus(tmp_path: Path) -> None:
    """The command of docs/measurements-training.md for COCO in a night."""
    asked = "detector:gpu=2 if wildcards.round == 'full' else 1"
    printed = snakemake(tmp_path, *PLAN, "--set-resources", asked).stdout
    given = re.findall(r"mgral detector .*?--gpus (\d) .*?--output \S+?seed0/(\w+)/", printed)
    assert {gpus for gpus, place in given if place == "full"} == {"2"}
    assert {gpus for gpus, place in given if place != "full"} == {"1"}


@pytest.mark.parametrize(
    ("options", "steps", "more"),
    [
        (("--resources", "gpu=0"), set(), {}),
        (
            ("--set-resources", *(f"{step}:gpu=0" for step in ON_GPU - {"detector"}), "select:gpu=0"),
            {"detector"},
            {},
        ),
        ((), ON_GPU | {"select"}, {"STAND_IN_CARDS": f"{TWO},GPU-c:2100", VISIBLE: "2"}),
    ],
)
def test_what_is_given_by_hand_wins(
    tmp_path: Path, options: tuple[str, ...], steps: set[str], more: dict[str, str]
) -> None:
    found = gpus_by_step(snakemake(tmp_path, *PLAN, *options, **more).stdout)
    assert {step for step, gpus in found.items() if "1" in gpus} == steps
    assert found.keys() == ON_GPU | {"agent", "select"}


@slow
@pytest.mark.parametrize(("options", "memory"), [((), 24000), (("--resources", "vram_mb=3000"), 3000)])
def test_jobs_at_once_are_bounded_by_the_memory_of_all_cards(
    tmp_path: Path, options: tuple[str, ...], memory: int
) -> None:
    said = snakemake(tmp_path, DETECTOR, *RUN, *options, "--verbose", stub=True).stdout
    assert re.search(rf"Resources before job selection: .*'vram_mb': {memory}\b", said)


def test_a_line_says_where_it_computes_and_another_device_reruns_nothing(tmp_path: Path) -> None:
    done = snakemake(tmp_path, DETECTOR, *RUN, stub=True)
    assert done.stdout.splitlines()[1] == (
        "Computing on GPUs: 1 x NVIDIA Stand-in of 16.8 GB, 1 x NVIDIA Stand-in of 8.4 GB, "
        "room for 10 trainings at once. To use only the CPU: MGRAL_DEVICE=cpu, or --cpu of `mgral snakemake`"
    )
    assert "Nothing to do" in snakemake(tmp_path, DETECTOR, *RUN, stub=True, MGRAL_DEVICE="cpu").stdout
    done = snakemake(tmp_path, *RUN, "--force", DETECTOR, stub=True, MGRAL_DEVICE="cpu")
    assert done.stdout.splitlines()[1] == "Computing on the CPU: MGRAL_DEVICE=cpu"
    without = (*RUN, "--force", "results/tiny/seed0/full/cycle0/labelled.json")
    assert "Computing" not in snakemake(tmp_path, *without, stub=True).stdout


def test_a_gpu_that_is_asked_for_and_too_small_is_refused(tmp_path: Path) -> None:
    asked = (DETECTOR, *RUN, "--set-resources", "detector:gpu=1")
    done = snakemake(tmp_path, *asked, stub=True, STAND_IN_CARDS="GPU-a:1000,GPU-b:900")
    assert done.returncode == 2
    assert f"detector was given a GPU and takes about {TRAINING} MiB of it, and the largest has 1000;" in done.stdout
    assert not (tmp_path / "results/tiny/config.yaml").exists()
    done = snakemake(tmp_path, *asked, "detector:vram_mb=900", stub=True, STAND_IN_CARDS="GPU-a:1000")
    assert done.returncode == 0, done.stdout


@slow
def test_on_a_cluster_only_the_profile_gives_gpus(tmp_path: Path) -> None:
    planned = (*PLAN, "--executor", "slurm", "--jobs", "2")
    found = gpus_by_step(snakemake(tmp_path, *planned).stdout)
    assert found == {step: {"0"} for step in (*ON_GPU, "agent", "select")}
    found = gpus_by_step(snakemake(tmp_path, *PLAN, "--profile", PROFILES / "slurm").stdout)
    assert found["detector"] == {"1"}


def test_what_dvc_is_to_do_is_planned_without(tmp_path: Path) -> None:
    assert {job.resources["gpu"] for job in jobs_planned(tmp_path, "--configfile", TINY)} == {0}


def test_what_fits_on_no_card_is_named() -> None:
    cards = (Card("GPU-a", "NVIDIA T4", 15360), Card("GPU-b", "NVIDIA T4", 15360))
    line = Devices(cards, "").line(8000, {"variant": 17000, "agent": 16000})
    assert line.startswith("Computing on GPUs: 2 x NVIDIA T4 of 16.1 GB, room for 2 trainings at once. On the CPU, ")
    assert "as they take more memory than a GPU has: agent (16.8 GB), variant (17.8 GB). To use only" in line
    assert "room" not in Devices(cards, "").line(16000, {})
