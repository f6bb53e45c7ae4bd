"""The estimate: its counts against Snakemake's plan, its sums by hand, and what it says where it knows too little."""

import json

import pytest
import yaml
from click.testing import CliRunner
from run_workflow import TINY, count_rules, planned

from mgral.artefacts.files import write_csv, write_json
from mgral.cli.main import mgral
from mgral.cli.tools.estimate import load_speeds
from mgral.config import Config, config_yaml, load_config, resolve_config
from mgral.engine.cost import Sizes, Speeds, Work, estimate_disk, find_sizes, plan_work
from mgral.errors import InputError


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lut": {"splits": 2, "refresh": "every_cycle", "variants_per_job": 1}, "seeds": [0, 3]},
        {"strategies": ["random", "entropy_anchors"], "cycles": 1},
        {"strategies": ["mgral", "core_set", "ppal"]},
    ],
)
def test_jobs_are_those_that_snakemake_plans(tmp_path, changes):
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(changes))
    jobs = count_rules(planned(tmp_path, "--configfile", TINY, path))
    done = CliRunner().invoke(
        mgral, ["estimate", "--configfile", str(TINY), "--configfile", str(path), "--json"], catch_exceptions=False
    )
    assert {step: work["jobs"] for step, work in json.loads(done.stdout)["steps"].items()} == jobs


def test_images_are_added_up_by_hand():
    config = resolve_config(
        {
            "seeds": (0, 1),
            "strategies": ("mgral", "entropy_anchors"),
            "cycles": 2,
            "initial": 100,
            "budget": 50,
            "data": {"format": "synthetic", "train_images": 400, "test_images": 30},
            "training": {"batch_size": 4},
            "iterations": {"detector": 10, "growth": 1.0, "base": 7, "variant": 3},
            "lut": {"splits": 3, "variants": 5, "labels": "consistency", "reward_fraction": 0.2},
            "semi_supervised": {"batch_size": 2},
            "agent": {"episodes": 9},
        }
    )
    work = plan_work(config, Sizes(400, 30, 6))
    # Detectors of 100, 400, and twice 150 and 200 images: 10, 40, 15, 15, 20 and 20 steps of 4 images, two seeds.
    assert work["detector"] == Work(12, trained=2 * 4 * 120)
    assert work["evaluate"] == Work(12, seen=12 * 30)
    assert work["embed"] == Work(2, seen=2 * 400)
    assert work["base"] == Work(6, trained=6 * 4 * 7)
    # Six variants of 3 steps of 4 images, and 2 unlabelled ones in five of them; 20 reward images for each.
    assert work["variant"] == Work(36, trained=6 * 3 * (6 * 4 + 5 * 2), seen=6 * 6 * 20)
    # Four agents a job: of all three tables, and without each.
    assert work["agent"] == Work(4, episodes=4 * 4 * 9)
    assert work["select"] == Work(8, seen=2 * (300 + 250))
    others = plan_work(config.model_copy(update={"strategies": ("cald", "core_set")}), Sizes(400, 30, 6))
    assert others["select"].seen == 5 * work["select"].seen
    # The embeddings of cycle 0, which all share, and core-set's own of cycle 1.
    assert others["embed"] == Work(4, seen=4 * 400)


def test_disk_is_that_of_the_largest_artefacts():
    config = resolve_config(
        {"seeds": (0,), "strategies": ("mgral",), "cycles": 1, "lut": {"splits": 2, "variants": 5}}
    )
    disk = estimate_disk(config, Sizes(480, 160, 6), detector_bytes=1000)
    assert disk["image cache"] == 640 * 3 * 128 * 128
    assert disk["weights"] == 5 * 1000  # initial, full, cycle 1, two bases
    assert disk["embeddings"] == 480 * ((32 + 6) * 4 + 8)
    assert disk["tables"] == 2 * 5 * 40 * 4 * (32 + 6 + 6)  # components, and twice the scores of six classes


def test_hours_follow_from_measured_speeds_only():
    rates = {"training_images_a_second": 10.0, "inference_images_a_second": 100.0}
    speeds = Speeds(rates, {"embed": (36.0, Work(1, seen=50)), "table": (72.0, Work(2))})
    assert speeds.hours("variant", Work(3, trained=36000, seen=720000)) == pytest.approx(1 + 2)
    assert speeds.hours("embed", Work(2, seen=5000)) == pytest.approx(1)
    assert speeds.hours("table", Work(100)) == pytest.approx(1)
    assert speeds.hours("agent", Work(2, episodes=400)) is None
    assert speeds.hours("label", Work(2)) is None


def test_a_finished_run_gives_its_own_speeds(tmp_path):
    config = load_config(TINY)
    (tmp_path / "config.yaml").write_bytes(config_yaml(config))
    work = plan_work(config, find_sizes(config, tmp_path))
    rows = [
        {"step": "detector", "jobs": work["detector"].jobs, "wall_s": 3600.0},
        {"step": "evaluate", "jobs": work["evaluate"].jobs + 1, "wall_s": 5.0},  # one of them was run again
    ]
    write_csv(tmp_path / "timings" / "costs_by_step.csv", rows, ("step", "jobs", "wall_s"))
    speeds = load_speeds([tmp_path], config)
    assert speeds.hours("detector", work["detector"]) == pytest.approx(1)
    assert speeds.hours("evaluate", work["evaluate"]) is None


def test_the_size_of_a_data_set_comes_from_where_it_is_known(tmp_path):
    config = resolve_config({"data": {"format": "coco", "root": str(tmp_path / "data")}})
    with pytest.raises(InputError, match="is not known yet; give --sizes TRAIN TEST CLASSES, or run"):
        find_sizes(config, tmp_path)
    for split, count in (("train", 3), ("test", 2)):
        content = {"images": [{"id": i} for i in range(count)], "categories": [{"id": 1}, {"id": 2}]}
        write_json(tmp_path / "data" / "annotations" / f"instances_{split}.json", content)
        write_json(tmp_path / "dataset" / f"{split}.json", {**content, "images": content["images"][1:]})
    assert find_sizes(config, tmp_path / "elsewhere") == Sizes(3, 2, 2)
    assert find_sizes(config, tmp_path) == Sizes(2, 1, 2)
    assert find_sizes(Config(), tmp_path) == Sizes(480, 160, 6)


def test_without_speeds_it_says_how_to_get_hours(tmp_path):
    arguments = ["estimate", "--configfile", str(TINY), "--sizes", "1000", "10", "3"]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    assert "1000 training and 10 test images, 3 classes" in done.stdout
    assert "No hours without measured speeds: give --speeds the folder of a finished run" in done.stdout
    rates = tmp_path / "speeds.json"
    rates.write_text('{"training_images_a_second": 100, "device": "a GPU"}')
    done = CliRunner().invoke(mgral, [*arguments, "--speeds", str(rates)], catch_exceptions=False)
    assert "No hours" not in done.stdout
    assert "without evaluate, embed, variant, agent, select, of which no speed is known" in done.stdout


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), ("[1]", "holds no measurements")])
def test_speeds_that_are_none(tmp_path, content, message):
    (tmp_path / "speeds.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_speeds([tmp_path / "speeds.json"], Config())
    with pytest.raises(InputError, match=r"holds no timings/costs_by_step\.csv; give the folder of a run that is"):
        load_speeds([tmp_path], Config())


@pytest.mark.parametrize(
    ("training", "rate"), [({}, 20.0), ({"precision": "bfloat16"}, 50.0), ({"compile": True}, 80.0)]
)
def test_a_benchmark_of_the_detector_gives_the_speed_of_the_configured_precision(tmp_path, training, rate):
    rates = {"mgral": 20.0, "mgral_bfloat16": 50.0, "mgral_compiled": 80.0}
    content = {f"{way}_images_per_second": value for way, value in {**rates, "inference": 100.0}.items()}
    path = tmp_path / "detector.json"
    path.write_text(json.dumps({"detector": "ssd300_vgg16", **content}))
    config = resolve_config({"detector": {"name": "ssd300_vgg16"}, "training": training})
    speeds = load_speeds([path], config)
    assert speeds.hours("base", Work(1, trained=7200)) == pytest.approx(2 / rate)
    assert speeds.hours("embed", Work(1, seen=7200)) == pytest.approx(2 / 100)
    with pytest.raises(InputError, match=r"detector\.json is of ssd300_vgg16, the experiment of small_ssd; measure"):
        load_speeds([path], Config())


def test_a_run_of_another_detector_gives_no_speeds(tmp_path):
    (tmp_path / "config.yaml").write_bytes(config_yaml(load_config(TINY)))
    write_csv(tmp_path / "timings" / "costs_by_step.csv", [], ("step", "jobs", "wall_s"))
    with pytest.raises(InputError, match="other settings under `detector`; give a run with the same"):
        load_speeds([tmp_path], Config())
