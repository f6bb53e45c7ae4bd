"""The benchmarks, at sizes of a moment."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from made_embeddings import made_embeddings
from slow import full, slow

from benchmarks.__main__ import benchmarks
from benchmarks.evaluate import largest_difference
from benchmarks.reward import measure_look_up, measure_size, measure_training
from mgral.artefacts.files import write_arrays, write_bytes, write_csv, write_json
from mgral.artefacts.integrity import record_path
from mgral.cli.steps.variant import command as variant
from mgral.compute.device import choose_device
from mgral.config import config_yaml, load_config, resolve_config
from mgral.errors import InputError
from mgral.models.detectors.retinanet import RetinaNetConfig


def test_selection_is_measured():
    arguments = ["select", "--images=200", "--dimensions=4", "--budget=10", "--json"]
    result = CliRunner().invoke(benchmarks, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["chosen"] == 10
    assert found["seconds"] > 0
    assert found["peak_memory_mb"] > 10


@full
def test_layouts_of_a_backbone_are_measured():
    arguments = ["backbone", "--side=64", "--batch=2", "--rounds=1"]
    table = CliRunner().invoke(benchmarks, arguments, catch_exceptions=False).stdout.split("\n")
    assert table[2].startswith("| timm, contiguous, float32 | ")
    assert [row.split(" | ")[2] for row in table[2:3]] == ["1.00"]
    assert len([row for row in table if row.startswith("| mgral, ")]) == 3
    assert len([row for row in table if row.startswith(("| 0 |", "| 4 |"))]) == 2


def test_near_copies_are_measured():
    result = CliRunner().invoke(benchmarks, ["groups", "--train=100", "--test=7", "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["groups"] == 5
    assert found["processor_seconds"] > 0


def test_selecting_more_than_there_is_is_wrong_usage():
    result = CliRunner().invoke(benchmarks, ["select", "--images=5", "--budget=6"])
    assert result.exit_code == 2
    assert "--budget 6 is above --images 5" in result.stderr


def _table(distance):
    """Return the arrays of a table of random values, of 5 subsets of 6 images, with 3 dimensions or classes."""
    rng = np.random.default_rng(0)
    table = {"map": rng.random(5), "baseline_map": rng.random(1), "kernel_widths": np.ones(1)}
    of_images = rng.random((5, 6, 3), dtype=np.float32)
    if distance == "by_class":
        scale = {f"count_{name}": np.ones(3) for name in ("zero", "unit", "mean")}
        learnt = {"features": rng.random((5, 3, 3)), "roots": rng.random((5, 3)), "learnt": np.arange(5) + 6.0}
        learnt["base"] = np.array([], np.int64)
        images = {"counts": of_images, "classes": np.arange(3), "images": np.arange(30).reshape(5, 6)}
        return table | scale | learnt | images | {"values": rng.random((5, 3))}
    projections = {"projections": rng.random((3, 4), np.float32), "sorted": rng.random((5, 6, 4), np.float32)}
    return table | projections | {"embeddings": of_images, "values": rng.random((5, 1))}


REWARDS = {
    "by_class": {},
    "sliced": {"distance": "sliced", "estimator": "kernel", "projections": 4},
}


@pytest.mark.parametrize("distance", REWARDS)
def test_look_ups_in_a_table_are_measured(distance, tmp_path):
    own = {"type": "mgral", "agent": {"policy": "lstm"}, "lut": {"splits": 2}, "reward": REWARDS[distance]}
    write_json(tmp_path / "config.yaml", {"strategies": {"random": {}, "ours": own}})
    config = load_config(tmp_path / "config.yaml")
    cycle = tmp_path / "seed3" / "initial" / "cycle0"
    splits = cycle / "tables" / config.name_of("table", "ours")
    rng = np.random.default_rng(0)
    # Vectors hold the counts too: one component and those of two classes.
    counts = rng.random((30, 3 if distance == "by_class" else 2))
    embeddings = made_embeddings(np.arange(30), rng.random((30, 1)), counts, counted=np.arange(6))
    write_arrays(cycle / "embeddings" / "default.safetensors", embeddings.arrays())
    name = f"{config.name_of('reward', 'ours')}/table.safetensors"
    write_arrays(splits / "split0" / name, _table(distance))
    with pytest.raises(InputError, match="contains no lookup tables; run the workflow"):
        measure_look_up(tmp_path)
    write_arrays(splits / "split1" / name, _table(distance))
    found = measure_look_up(tmp_path)
    assert found["tables"] == 2
    assert (found["variants"], found["batch"], found["dimensions"]) == (5, 6, 3)
    assert found["look_up_seconds"] > 0


def test_the_training_that_is_measured_is_of_variant_1_of_the_experiments_table(tmp_path, monkeypatch):
    changed = {"type": "mgral", "lut": {"variants": 5, "splits": 1}}
    write_json(tmp_path / "config.yaml", {"strategies": {"ours": changed, "random": {}}})
    table = load_config(tmp_path / "config.yaml").name_of("table", "ours")
    cycle = tmp_path / "seed3" / "initial" / "cycle0"
    split = cycle / "tables" / table / "split0"
    write_arrays(split / "default" / "table.safetensors", _table("by_class"))
    with pytest.raises(InputError, match=r"train\.json is missing; run the workflow again"):
        measure_training(tmp_path)
    for path in ("dataset/train.json", "dataset/train.npy"):
        write_json(tmp_path / path, {})
    for path in (cycle / "pseudo_labels.json", split / "subsets.json", split / "base.safetensors"):
        write_json(path, {})
    ran = []
    monkeypatch.setattr("benchmarks.reward._run_variant", lambda arguments: ran.append(arguments) or len(ran) % 2 + 1)
    assert measure_training(tmp_path) == {"training_seconds": 2, "training_seconds_without_start_up": 1}
    assert ran[1] == ["--help"]
    given = variant.make_context("variant", ran[0]).params
    expected = {
        "table": table,
        "seed": 3,
        "cycle": 0,
        "split": 0,
        "first": 1,
        "last": 1,
        "base": split / "base.safetensors",
    }
    expected |= {"subsets": split / "subsets.json", "pseudo_labels": cycle / "pseudo_labels.json"}
    assert expected.items() <= given.items()


def test_an_experiment_without_an_agent_has_no_table_to_measure(tmp_path):
    write_json(tmp_path / "config.yaml", {"strategies": ["random"]})
    with pytest.raises(InputError, match="contains no lookup tables"):
        measure_look_up(tmp_path)


def test_exact_look_ups_are_slower_than_sliced_ones():
    found = measure_size(batch=200, variants=4, dimensions=8, projections=4)
    sliced, exact = (found[f"batch_200_variants_4_{kind}_look_ups_a_second"] for kind in ("sliced", "exact"))
    assert sliced > exact > 0


def test_both_libraries_are_measured_and_agree():
    result = CliRunner().invoke(benchmarks, ["evaluate", "--images=20", "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    for name, classes in (("voc", 20), ("coco", 80)):
        assert (found[f"{name}_images"], found[f"{name}_classes"], found[f"{name}_detections"]) == (20, classes, 2000)
        assert found[f"{name}_largest_difference"] < 1e-12
        assert 0 < found[f"{name}_map"] < 1
        assert found[f"{name}_pycocotools_seconds"] > 0


def test_a_score_that_one_has_not_is_an_infinite_difference():
    assert largest_difference({"a": 0.25, "b": [None, 0.5]}, {"b": [None, 0.0], "a": 0.5}) == 0.5
    assert largest_difference({"a": None}, {"a": 0.0}) == float("inf")


@slow
def test_an_iteration_of_a_detector_is_measured(monkeypatch):
    def processes(count, context, prepare, arguments):
        prepared.append((prepare, arguments))
        return ThreadPoolExecutor(count)

    prepared = []
    small = {"retinanet_resnet50_fpn": RetinaNetConfig(name="retinanet_resnet50_fpn", canvas=128)}
    monkeypatch.setattr("benchmarks.detector.CONFIGS", small)
    monkeypatch.setattr("benchmarks.detector.ProcessPoolExecutor", processes)
    arguments = ["detector", "--detector=retinanet_resnet50_fpn", "--at-once=2", "--json"]
    result = CliRunner().invoke(benchmarks, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["device"] == "cpu"
    assert found["at_once_images_per_second"] > 0
    assert prepared == [(choose_device, (0,))]  # or those processes would compute otherwise than a training does
    for way in ("mgral", "torchvision", "inference"):
        assert found[f"{way}_seconds"] > 0
        assert found[f"{way}_peak_memory_mb"] > 100


@pytest.mark.parametrize(
    ("policy", "distance", "option"), [("batch", "by_class", "classes"), ("lstm", "sliced", "projections")]
)
def test_the_agents_steps_and_look_ups_are_measured(policy, distance, option):
    sizes = ["--images=60", "--dimensions=4", "--budget=6", "--variants=3", f"--{option}=4", "--episodes=1"]
    arguments = ["agent", *sizes, f"--policy={policy}", f"--distance={distance}", "--json"]
    result = CliRunner().invoke(benchmarks, arguments, catch_exceptions=False)
    found = json.loads(result.stdout)
    assert (found["images"], found["budget"], found["device"]) == (60, 6, "cpu")
    assert (found["distance"], found[option]) == (distance, 4)
    assert found["look_ups_a_second"] > 0
    assert found["peak_memory_mb"] > 10
    assert "steps_a_second" in found


def test_reading_is_measured():
    result = CliRunner().invoke(benchmarks, ["data", "--train=40", "--test=20", "--json"], catch_exceptions=False)
    found = json.loads(result.stdout)
    assert found["images"] == 60
    assert 60 <= found["boxes"] <= 60 * 14
    assert found["processor_seconds"] > 0


def test_the_accuracy_of_detectors_is_a_page_of_what_is_there(tmp_path):
    folder, page = tmp_path / "results" / "one", tmp_path / "page.md"
    write_bytes(folder / "config.yaml", config_yaml(resolve_config({"experiment": "one", "seeds": (3, 5)})))
    for seed, ap50 in ((3, 0.25), (5, 0.35)):
        place = folder / f"seed{seed}" / "initial" / "cycle0"
        write_json(place / "metrics.json", {"ap50": ap50, "map": 0.1})
        write_json(place / "labelled.json", {"images": list(range(7))})
        write_csv(place / "training.csv", [{"iteration": 0}] * 9, ["iteration"])
        cost = {"processor_seconds": 90, "peak_memory_mb": 1000, "commit": "0123456789abcdef"}
        write_json(record_path(place / "detector.safetensors"), cost)
    run = ["accuracy", str(folder), "--output", str(page)]
    assert CliRunner().invoke(benchmarks, run, catch_exceptions=False).exit_code == 0
    lines = [line for line in page.read_text().splitlines() if line.startswith("| one")]
    assert lines == [
        "| one | small_ssd | 128 x 128 | 7 | 9 | 30.0 ± 7.1 | 10.0 ± 0.0 | 3, 5 | 1.5 | 1000 | `0123456789ab` |"
    ]
    other = lines[0].replace("`0123456789ab`", "`fedcba987654`")
    page.write_text(page.read_text().replace("30.0 ± 7.1", "1.0 ± 7.1") + other + "\n")
    assert CliRunner().invoke(benchmarks, run, catch_exceptions=False).exit_code == 0
    assert [line for line in page.read_text().splitlines() if line.startswith("| one")] == [*lines, other]


def test_an_experiment_without_a_scored_detector_has_no_accuracy(tmp_path):
    write_bytes(tmp_path / "config.yaml", config_yaml(resolve_config({})))
    with pytest.raises(InputError, match="has no scored detector of the rounds initial and full"):
        CliRunner().invoke(
            benchmarks, ["accuracy", str(tmp_path), "--output", str(tmp_path / "page.md")], catch_exceptions=False
        )


def test_settings_are_compared_on_training_images_and_go_on_where_they_were_stopped(tmp_path, monkeypatch):
    values = {
        "data": {"format": "synthetic", "train_images": 16, "test_images": 4},
        "detector": {"name": "small_ssd", "width": 64, "height": 64, "channels": 4},
        "training": {"batch_size": 2},
        "iterations": {"detector": 2},
        "initial": 4,
        "budget": 4,
        "cycles": 1,
    }
    write_bytes(tmp_path / "config.yaml", yaml.safe_dump(values).encode())
    run = ["settings", "--configfile", str(tmp_path / "config.yaml"), "--images", "8", "--seeds", "0,1"]
    run += ["--folder", str(tmp_path / "done"), "--try", "training: {learning_rate: 0.01}"]
    first = CliRunner().invoke(benchmarks, run, catch_exceptions=False)
    assert [line.split(" | ")[0] for line in first.stdout.splitlines()[2:]] == [
        "| {}",
        "| training: {learning_rate: 0.01}",
    ]
    done = [json.loads(path.read_bytes()) for path in (tmp_path / "done").glob("*.json")]
    assert sorted((one["seed"], one["config"]["training"]["learning_rate"]) for one in done) == [
        (0, 0.002),
        (0, 0.01),
        (1, 0.002),
        (1, 0.01),
    ]
    assert {(one["learnt"], one["aside"]) for one in done} == {(8, 4)}
    monkeypatch.delattr("benchmarks.settings._train")
    assert CliRunner().invoke(benchmarks, run, catch_exceptions=False).stdout == first.stdout


@full
def test_the_run_for_a_card_goes_through_on_a_cpu(tmp_path):
    """Every way is measured, and every result is in the JSON."""
    output = tmp_path / "gpu.json"
    printed = CliRunner().invoke(benchmarks, ["gpu", "--cpu", f"--output={output}"], catch_exceptions=False).stdout
    results = {one["what"]: one for one in json.loads(output.read_text())["results"]}
    assert not [one for one in results.values() if "failed" in one or "skipped" in one]
    assert [line.split(":")[0] for line in printed.splitlines() if ": " in line][:2] == ["machine", "plain, 2"]
    for way in ("plain", "ours", "ours, CUDA graph", "ours, any order", "ours, memory filled", "ours, compiled"):
        assert results[f"{way}, 2"]["images_per_second"] > 0
    assert {"ours, CUDA graph, 1 x 2", "ours, 1 x 2", "kernels of ours"} <= results.keys()
    for way in ("plain", "ours", "ours, CUDA graph"):
        assert len(results[f"AP50 after 6 iterations, {way}"]["each"]) == 1


@full
def test_a_whole_experiment_on_a_card_is_tried_on_a_cpu(tmp_path):
    output = tmp_path / "gpu_experiment.json"
    CliRunner().invoke(benchmarks, ["gpu_experiment", "--cpu", f"--output={output}"], catch_exceptions=False)
    _, plain, ours, whole = json.loads(output.read_text())["results"]
    assert [plain["what"], ours["what"], whole["what"]] == ["plain, 2", "ours, 2", "whole experiment"]
    assert whole["images_per_second"] == pytest.approx(whole["images"] / whole["seconds"])
    assert whole["ratio"] == pytest.approx(whole["images_per_second"] / ours["images_per_second"])
    # Per seed: 7 detectors of 3 iterations of 2 images, one with all labels, and the lookup tables.
    assert whole["images"] > 8 * 3 * 2
    assert whole["seconds_of_detector"] > 0


@full
def test_launches_of_a_step_are_written_as_a_page(tmp_path):
    page = tmp_path / "page.md"
    arguments = ["gpu", f"--profile={page}", f"--before={Path(__file__).parents[2]}"]
    CliRunner().invoke(benchmarks, arguments, catch_exceptions=False)
    totals = [line.split(" | ")[1:] for line in page.read_text().splitlines() if line.startswith("| all | ")]
    assert len(totals) == 4
    for before, after, waits, _, profiled, _ in totals:
        assert before == after
        assert float(waits) == 0
        assert profiled.split(" → ")[0] == profiled.split(" → ")[1]
