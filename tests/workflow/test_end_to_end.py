import csv
import json
import shutil
import subprocess
import sys
from collections import Counter
from itertools import product

import pytest
import yaml
from run_workflow import ROOT, TINY, planned, snakemake
from safetensors.numpy import load_file
from slow import full, slow

from mgral.artefacts.files import read_csv
from mgral.config import load_config
from mgral.engine.steps import STEPS


@pytest.fixture(scope="module")
def finished(undisturbed, tmp_path_factory):
    """The results of the tiny experiment, in a copy that may be changed."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(undisturbed, folder, dirs_exist_ok=True)
    return folder / "results" / "tiny"


def read(path):
    return json.loads(path.read_text())


@pytest.mark.timeout(900)
def test_report_and_scores_are_there(finished):
    assert "<html" in (finished / "report.html").read_text()
    assert list((finished / "figures").glob("*.svg"))
    assert list((finished / "tables").glob("*.csv"))
    assert {path.name for path in (finished / "timings").iterdir()} == {
        "timings.html",
        "jobs.csv",
        "costs_by_step.csv",
        "costs_by_cycle.csv",
        "run.json",
    }
    scores = [read(path) for path in finished.rglob("metrics.json")]
    config = load_config(TINY)
    assert len(scores) == len(config.seeds) * (2 + config.cycles * len(config.strategies))
    assert all(0 <= score["map"] <= 1 and score["images"] == 8 for score in scores)


@pytest.mark.timeout(900)
def test_a_run_ends_with_the_times_of_all_its_jobs(finished):
    with (finished / "timings" / "jobs.csv").open(newline="") as file:
        measured = Counter(row["step"] for row in csv.DictReader(file))
    without = {"config", "download", "weights", "external", "candidates", "gain", "lookup", "fidelity"}
    without |= {"input_size", "derive", "head", "pictures", "index", "prelabels", "held_out", "pseudo_labels"}
    assert set(measured) == set(STEPS) - without
    with (finished / "timings" / "costs_by_step.csv").open(newline="") as file:
        assert {row["step"]: int(row["jobs"]) for row in csv.DictReader(file)} == measured


@pytest.mark.timeout(900)
def test_labelled_sets_grow_by_the_budget(finished):
    config = load_config(TINY)
    initial = set(read(finished / "seed0" / "initial" / "cycle0" / "labelled.json")["images"])
    assert len(initial) == config.initial
    for strategy in config.strategies:
        labelled = initial
        for cycle in range(config.cycles):
            folder = finished / "seed0" / "strategies" / strategy
            selection = read(folder / f"cycle{cycle}" / "selection.json")["images"]
            assert len(set(selection)) == len(selection) == config.budget
            assert not labelled & set(selection)
            labelled = labelled | set(selection)
            assert read(folder / f"cycle{cycle + 1}" / "labelled.json")["images"] == sorted(labelled)
    everything = read(finished / "seed0" / "full" / "cycle0" / "labelled.json")["images"]
    assert len(everything) == config.data.train_images


@pytest.mark.timeout(900)
def test_trainings_grow_with_the_labelled_images(finished):
    """4 iterations on 6 images; 4 (n / 6)^0.75 on 10, 14 and all 24."""
    trainings = {"initial/cycle0": 4, "strategies/random/cycle1": 6, "strategies/mgral/cycle2": 8, "full/cycle0": 11}
    for folder, iterations in trainings.items():
        lines = (finished / "seed0" / folder / "training.csv").read_text().splitlines()
        assert len(lines) == 1 + iterations


@full
@pytest.mark.timeout(900)
def test_training_is_measured_against_a_plain_loop(finished):
    arguments = ["training", f"--results={finished}", "--iterations=2", "--seeds=1", "--cores=2", "--json"]
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, text=True, capture_output=True, check=True, cwd=ROOT)
    found = json.loads(done.stdout)
    ratio = found["mgral_images_per_second"] / found["plain_images_per_second"]
    assert found["mgral_to_plain_median"] == pytest.approx(ratio)
    assert found["mgral_side_by_side_images_per_second"] > 0
    assert 0 < found["convolution_share"] < 1


@pytest.mark.timeout(900)
def test_no_artefact_names_this_machine(finished):
    folder = str(finished.parent.parent).encode()
    kept = [path for path in finished.rglob("*") if path.is_file() and path.relative_to(finished).parts[0] != "logs"]
    assert [path for path in kept if folder in path.read_bytes()] == []


@slow
@pytest.mark.timeout(900)
def test_other_learning_rate_of_the_agent_trains_no_detector_of_cycle_0(finished):
    folder = finished.parent.parent
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    change = ("--configfile", TINY, "--config", "agent={learning_rate: 0.05}")
    done = snakemake(folder, "--cores", "2", *change)
    assert done.returncode == 0, done.stdout
    changed = {path.relative_to(finished) for path, time in before.items() if path.stat().st_mtime_ns != time}
    artefacts = {path for path in changed if path.parts[0].startswith("seed")}
    assert {path.parts[1:3] for path in artefacts} == {("strategies", "mgral")}
    assert {path.name for path in artefacts if path.parts[3] == "cycle0"} == {
        "agent.safetensors",
        "agent.csv",
        "agent.json",
        "selection.json",
    }
    assert yaml.safe_load((finished / "config.yaml").read_text())["agent"]["learning_rate"] == 0.05
    assert planned(folder, *change) == []


@slow
@pytest.mark.timeout(900)
def test_a_batch_is_looked_up_in_a_table_of_another_kind_and_really_tried(finished):
    """Variants that start anew, on real steps; the page is drawn from made-up numbers in test_fidelity.py."""
    place = "results/tiny/seed0/fidelity/cycle0"
    config = load_config(TINY)
    kinds = {name: config.with_settings("table", name).lut for name in config.fidelity_tables()}
    (table,) = [name for name, lut in kinds.items() if (lut.labels, lut.start) == ("labels", "cold")]
    wanted = (f"{place}/gains0-1.json", f"{place}/{table}/lookups.csv")
    change = ("fidelity={cycle: 0}", "lut={variants_per_job: 4}")
    done = snakemake(finished.parent.parent, *wanted, "--cores", "2", "--configfile", TINY, "--config", *change)
    assert done.returncode == 0, done.stdout
    gains = read(finished.parent.parent / wanted[0])["gains"]
    assert [len(one["map"]) for one in gains] == [2, 2]
    found = read_csv(finished.parent.parent / wanted[1])
    assert {(row["labels"], row["start"]) for row in found} == {("labels", "cold"), ("no_table", "")}
    # 14 kinds of lookup, and by each of two embeddings the objects, the roots of these, and images of classes.
    assert len(found) == (14 + 6) * load_config(TINY).fidelity.batches
    base = finished / "seed0" / "initial" / "cycle0" / "tables" / table / "split0" / "base.safetensors"
    untrained = load_file(base)
    assert not untrained["class_quality.batches"].any()


@slow
@pytest.mark.timeout(900)
def test_the_other_reward_source_distance_estimator_and_reference(finished):
    """Runs last: it changes what the folder holds."""
    change = (
        "lut={labels: labels, refresh: every_cycle, splits: 2, variants_per_job: 3}",
        "reward={distance: exact, estimator: nearest}",
        "agent={policy: lstm, baseline: previous}",
    )
    cycles = load_config(TINY).cycles
    last = f"results/tiny/seed0/strategies/mgral/cycle{cycles - 1}/selection.json"
    done = snakemake(finished.parent.parent, last, "--cores", "2", "--configfile", TINY, "--config", *change)
    assert done.returncode == 0, done.stdout
    for cycle in range(cycles):
        folder = finished / "seed0" / "strategies" / "mgral" / f"cycle{cycle}"
        place = folder if cycle else finished / "seed0" / "initial" / "cycle0"
        labelled = place / "labelled.json"
        values, plans = [], []
        for split in (0, 1):
            table = place / "tables" / "default" / f"split{split}"
            plan = read(table / "subsets.json")
            candidates = {image for subset in plan["subsets"] for image in subset["images"]}
            assert plan["labels"] == "labels"
            assert candidates | set(plan["base"]) | set(plan["reward"]) <= set(read(labelled)["images"])
            assert not candidates & set(plan["reward"])
            plans.append(plan)
            values.append([variant["map"] for variant in read(table / "variants0-2.json")["variants"]][1:])
        assert plans[0] != plans[1]
        means = [sum(pair) / 2 for pair in product(*values)]
        assert min(abs(read(folder / "agent.json")["selected_reward"] - mean) for mean in means) < 1e-12
