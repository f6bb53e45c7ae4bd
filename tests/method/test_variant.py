"""The steps `base` and `variant`: what they train on and measure on, and that variants differ by subset alone."""

import json

import click
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from stopping import StoppedError, stop_after

from mgral.artefacts.files import read_arrays, write_json
from mgral.cli.steps import base, variant
from mgral.config import resolve_config
from mgral.data.dataset import load_dataset
from mgral.errors import InputError, SparseError
from mgral.training.checkpoint import SECONDS_VARIABLE

SIZE = 64


@pytest.fixture
def experiment(tmp_path):
    """24 images of one or two squares; the images named by the plan, and nothing else, are looked at."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, (24, SIZE, SIZE, 3)).astype(np.uint8)
    annotations = []
    for image in range(24):
        for label in range(1 + image % 2):
            x, y = (int(v) for v in rng.integers(0, SIZE - 24, 2))
            pixels[image, y : y + 24, x : x + 24, label] = 250
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": label,
                    "bbox": [x, y, 24, 24],
                    "area": 576,
                    "iscrowd": 0,
                }
            )
    np.save(tmp_path / "train.npy", pixels)
    coco = {
        "images": [{"id": i, "file_name": f"{i}.png", "width": SIZE, "height": SIZE} for i in range(24)],
        "annotations": annotations,
        "categories": [{"id": 0, "name": "red"}, {"id": 1, "name": "green"}],
    }
    write_json(tmp_path / "train.json", coco)
    config = resolve_config(
        {
            "detector": {"width": SIZE, "height": SIZE, "channels": 4},
            "training": {"batch_size": 4},
            "initial": 8,
            "iterations": {"detector": 40, "growth": 0.5, "base": 30, "variant": 12},
            "semi_supervised": {"batch_size": 4, "weight": 5.0},
        }
    )
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    write_plan(tmp_path, "consistency")
    return tmp_path


def write_plan(folder, labels, reward=(0, 1, 2, 3), start="warm"):
    write_json(
        folder / "subsets.json",
        {
            "labels": labels,
            "start": start,
            "reward": list(reward),
            "base": [4, 5, 6, 7, 8, 9],
            "subsets": [
                {"variant": 0, "images": []},
                {"variant": 1, "images": [12, 13, 14, 15]},
                {"variant": 2, "images": [16, 17, 18, 19]},
            ],
        },
    )


def run(step, folder, output, *extra):
    common = [
        "--config",
        "config.yaml",
        "--dataset",
        "train.json",
        "--images",
        "train.npy",
        "--subsets",
        "subsets.json",
    ]
    paths = [str(folder / part) if "." in part else part for part in [*common, *extra, "--output", output]]
    arguments = [*paths, "--seed", "0", "--cycle", "0", "--split", "0"]
    CliRunner().invoke(step.command, arguments, catch_exceptions=False, standalone_mode=False)
    return folder / output


def train(folder, output, first, last):
    teacher = ("--pseudo-labels", "pseudo_labels.json") if (folder / "pseudo_labels.json").exists() else ()
    place = "--base", "base.safetensors", "--first", str(first), "--last", str(last)
    return run(variant, folder, output, *teacher, *place)


def read_variants(path):
    return json.loads(path.read_text())["variants"]


def train_all(folder):
    run(base, folder, "base.safetensors")
    return read_variants(train(folder, "all.json", 0, 2))


@pytest.mark.parametrize("labels", ["consistency", "labels"])
def test_variants_differ_by_their_subset_and_repeat_themselves(experiment, labels):
    write_plan(experiment, labels)
    first, second = train_all(experiment), train_all(experiment)
    assert first == second
    assert [one["images"] for one in first] == [0, 4, 4]
    assert len({one["map"] for one in first}) == 3
    assert all(0 <= one["map"] <= one["ap50"] <= 1 for one in first)


def test_a_variant_is_the_same_in_a_job_of_its_own(experiment):
    together = train_all(experiment)
    assert [read_variants(train(experiment, f"v{k}.json", k, k)) for k in range(3)] == [[one] for one in together]


def test_only_the_images_of_the_plan_are_looked_at(experiment):
    before = train_all(experiment)
    pixels = np.load(experiment / "train.npy")
    pixels[[10, 11, 20, 21, 22, 23]] = 0
    np.save(experiment / "train.npy", pixels)
    assert train_all(experiment) == before


def test_reward_images_are_measured_and_not_trained_on(experiment):
    weights = run(base, experiment, "base.safetensors").read_bytes()
    before = train_all(experiment)
    pixels = np.load(experiment / "train.npy")
    pixels[:4] = 0
    np.save(experiment / "train.npy", pixels)
    after = train_all(experiment)
    assert (experiment / "base.safetensors").read_bytes() == weights
    assert all(one["map"] != other["map"] for one, other in zip(before, after, strict=True))


def test_labels_of_the_pool_are_not_looked_at(experiment):
    before = train_all(experiment)
    coco = json.loads((experiment / "train.json").read_text())
    for annotation in coco["annotations"]:
        if annotation["image_id"] >= 12:
            annotation["category_id"], annotation["bbox"] = 0, [1, 1, 5, 5]
    write_json(experiment / "train.json", coco)
    assert train_all(experiment) == before
    write_plan(experiment, "labels")
    relabelled = train_all(experiment)
    assert relabelled[0]["map"] == before[0]["map"]
    assert relabelled[1:] != before[1:]


def test_variants_that_start_anew_from_labels_learn_as_long_as_a_detector_of_as_many_images(experiment, monkeypatch):
    plan = {"labels": "labels", "start": "cold", "reward": [0, 1, 2, 3], "base": []}
    plan["subsets"] = [{"variant": k, "images": list(range(4, 4 + size))} for k, size in enumerate((0, 2, 8))]
    write_json(experiment / "subsets.json", plan)
    trained = []

    def train_detector(detector, images, training, iterations, *rest):
        trained.append((len(images.rows), iterations))

    monkeypatch.setattr("mgral.method.lut.variants.train_detector", train_detector)
    found = train_all(experiment)
    # Neither the base nor variant 0 is trained. A quarter of the initial images take half the steps.
    assert trained == [(2, 20), (8, 40)]
    assert [one["images"] for one in found] == [0, 2, 8]
    assert found[0]["map"] < 0.001


def write_teacher(folder):
    """A teacher that sees the true boxes of the pool."""
    truth = json.loads((folder / "train.json").read_text())["annotations"]
    objects = [
        {key: one[key] for key in ("image_id", "category_id", "bbox")} | {"score": 0.5}
        for one in truth
        if one["image_id"] >= 10
    ]
    write_json(folder / "pseudo_labels.json", {"images": list(range(10, 24)), "objects": objects})


def test_under_a_teacher_the_pools_own_labels_are_neither_learnt_nor_rewarded(experiment):
    write_plan(experiment, "pseudo_labels", reward=(10, 11, 20, 21))
    write_teacher(experiment)
    before = train_all(experiment)
    assert len({one["map"] for one in before}) == 3
    coco = json.loads((experiment / "train.json").read_text())
    coco["annotations"] = [box for box in coco["annotations"] if box["image_id"] < 10]
    write_json(experiment / "train.json", coco)
    assert train_all(experiment) == before
    teacher = json.loads((experiment / "pseudo_labels.json").read_text())
    for one in teacher["objects"]:
        one["bbox"][0] += 6
    write_json(experiment / "pseudo_labels.json", teacher)
    moved = train_all(experiment)
    assert all(one["map"] != other["map"] for one, other in zip(before, moved, strict=True))


def test_a_teacher_that_labels_what_is_true_is_as_good_as_the_truth(experiment):
    write_plan(experiment, "labels", reward=(10, 11, 20, 21))
    of_truth = train_all(experiment)
    write_plan(experiment, "pseudo_labels", reward=(10, 11, 20, 21))
    write_teacher(experiment)
    assert train_all(experiment) == of_truth


def test_variants_that_learn_from_a_teacher_want_its_labels(experiment):
    write_plan(experiment, "pseudo_labels", reward=(10, 11, 20, 21))
    with pytest.raises(click.UsageError, match="give --pseudo-labels"):
        train_all(experiment)


def test_where_a_teacher_sees_nothing_the_variants_are_a_reason(experiment):
    write_plan(experiment, "pseudo_labels", reward=(10, 11, 20, 21))
    write_json(experiment / "pseudo_labels.json", {"images": list(range(10, 24)), "objects": []})
    run(base, experiment, "base.safetensors")
    written = json.loads(train(experiment, "v.json", 0, 2).read_text())
    assert written == {"reason": "no object is found in the images that rewards are measured on"}


def test_a_variant_that_the_plan_lacks_is_refused(experiment):
    run(base, experiment, "base.safetensors")
    with pytest.raises(
        InputError, match=r"subsets\.json has no variants 2 to 3; give --first and --last from 0 to 2"
    ):
        train(experiment, "v3.json", 2, 3)
    assert not (experiment / "v3.json").exists()


def test_where_reward_images_have_no_box_the_variants_are_a_reason(experiment):
    run(base, experiment, "base.safetensors")
    coco = json.loads((experiment / "train.json").read_text())
    coco["annotations"] = [box for box in coco["annotations"] if box["image_id"] > 3]
    write_json(experiment / "train.json", coco)
    assert len(load_dataset(experiment / "train.json").boxes[0]) == 0
    written = json.loads(train(experiment, "v0.json", 0, 0).read_text())
    assert written == {"reason": "no object is labelled in the images that rewards are measured on"}


def test_without_a_plan_base_and_variants_say_why(experiment):
    write_json(experiment / "subsets.json", {"reason": "there is no pool"})
    with pytest.raises(SparseError, match="there is no pool"):
        read_arrays(run(base, experiment, "base.safetensors"))
    assert json.loads(train(experiment, "v0.json", 0, 0).read_text()) == {"reason": "there is no pool"}


@pytest.mark.parametrize("labels", ["consistency", "labels"])
def test_a_stopped_base_and_a_stopped_variant_go_on_to_the_same_bytes(experiment, labels, monkeypatch):
    write_plan(experiment, labels)
    of_variant = ("--base", "base.safetensors", "--first", "1", "--last", "2")
    steps = [(base, "base.safetensors"), (variant, "v1.json", *of_variant)]
    undisturbed = [run(step, experiment, *rest).read_bytes() for step, *rest in steps]
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    for (step, output, *extra), expected in zip(steps, undisturbed, strict=True):
        (experiment / output).unlink()
        with stop_after(5, monkeypatch), pytest.raises(StoppedError):
            run(step, experiment, output, *extra)
        assert not (experiment / output).exists()
        assert (experiment / f"{output}.checkpoint").exists()
        assert run(step, experiment, output, *extra).read_bytes() == expected
        assert not (experiment / f"{output}.checkpoint").exists()


def test_a_variant_does_not_go_on_from_another_variants_checkpoint(experiment, monkeypatch, capsys):
    run(base, experiment, "base.safetensors")
    second = train(experiment, "v2.json", 2, 2).read_bytes()
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    with stop_after(5, monkeypatch), pytest.raises(StoppedError):
        train(experiment, "v1.json", 1, 1)
    (experiment / "v1.json.checkpoint").rename(experiment / "v2.json.checkpoint")
    again = train(experiment, "v2.json", 2, 2)
    assert again.read_bytes() == second
    assert not (experiment / "v2.json.checkpoint").exists()
