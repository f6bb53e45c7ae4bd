"""The estimate: its counts against Snakemake's plan, its sums by hand, and what it says where it knows too little."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner
from run_workflow import TINY
from slow import slow

from mgral.artefacts.files import write_csv, write_json
from mgral.cli.main import mgral
from mgral.cli.tools.estimate import load_speeds
from mgral.config import BudgetConfig, Config, config_yaml, load_config, resolve_config
from mgral.data.findings import FaultyDataError
from mgral.engine.cost import Sizes, Speeds, Work, estimate_disk, find_sizes, plan_work, planned_in_images
from mgral.engine.plan import PlannedJob, plan_all
from mgral.errors import InputError

CONFIG = resolve_config(
    {
        "strategies": {
            "mgral": {},
            "cald": {},
            "own": {"type": "mgral", "agent": {"episodes": 7}, "lut": {"splits": 1}},
        },
        "initial": 100,
        "budget": 50,
        "data": {"format": "synthetic", "train_images": 400, "test_images": 30},
        "training": {"batch_size": 4},
        "iterations": {"detector": 10, "growth": 1.0, "base": 7, "variant": 3},
        "lut": {"splits": 3, "variants": 5, "labels": "consistency", "start": "warm", "reward_fraction": 0.2},
        "semi_supervised": {"batch_size": 2},
        "agent": {"episodes": 9},
    }
)
SIZES = Sizes(400, 30, 6)


def work_of(rule: str, config: Config = CONFIG, **wildcards: object) -> Work:
    """What one planned job does."""
    named = {name: str(value) for name, value in wildcards.items()}
    return plan_work(config, SIZES, [PlannedJob(rule, named, (), (), (), "", {})])[rule]


def test_images_are_counted_by_hand():
    # Detectors of 100, 150 and all 400 images: 10, 15 and 40 steps of 4 images.
    assert work_of("detector", round="initial", cycle=0) == Work(1, trained=40)
    assert work_of("detector", round="strategies/mgral", cycle=1) == Work(1, trained=60)
    assert work_of("detector", round="full", cycle=0) == Work(1, trained=160)
    assert work_of("head", round="strategies/llal", cycle=1, type="llal") == Work(1, trained=60)
    assert work_of("evaluate", round="full", cycle=0) == Work(1, seen=30)
    assert work_of("embed", round="initial", cycle=0, embedding="default") == Work(1, seen=400)
    assert work_of("pseudo_labels", round="initial", cycle=0) == Work(1, seen=300)
    assert work_of("base", round="initial", cycle=0, table="default") == Work(1, trained=28)
    # Three steps of 4 images in a variant, and of 2 unlabelled ones in all but variant 0; 20 reward images for each.
    first = work_of("variant", round="initial", cycle=0, table="default", first=0, last=1)
    assert first == Work(1, trained=3 * (4 + 4 + 2), seen=2 * 20)
    assert work_of("agent", strategy="mgral", cycle=0) == Work(1, episodes=9)
    assert work_of("agent", strategy="own", cycle=0) == Work(1, episodes=7)
    assert work_of("select", strategy="mgral", cycle=1) == Work(1)
    assert work_of("select", strategy="cald", cycle=1) == Work(1, seen=5 * 250)
    assert work_of("report") == Work(1)


@pytest.mark.parametrize("labels", ["consistency", "pseudo_labels", "labels"])
def test_variants_that_start_anew_are_trained_longer_and_their_base_is_not(labels):
    config = CONFIG.model_copy(update={"lut": CONFIG.lut.model_copy(update={"labels": labels, "start": "cold"})})
    table = {"round": "initial", "cycle": 0, "table": "default"}
    assert work_of("base", config, **table) == Work(1)
    # Base and variant take ten steps. From labels, a variant learns as a detector of its 24 to 80 images would, which
    # takes as many steps as a tenth of them, and variant 0 of none.
    first, last = (work_of("variant", config, **table, first=k, last=k).trained for k in (0, 5))
    unlabelled = 10 * 2 if labels == "consistency" else 0
    assert (first, last) == ((0, 8 * 4) if labels == "labels" else (10 * 4, 10 * 4 + unlabelled))


def test_boxes_are_taken_for_images_by_those_of_the_data_or_for_as_many_as_they_can_pay():
    config = CONFIG.model_copy(update={"budget": BudgetConfig(unit="boxes", amount=60)})
    assert planned_in_images(config, SIZES._replace(boxes=1000)).budget == 24
    assert planned_in_images(config, SIZES._replace(boxes=100)).budget == 60
    assert planned_in_images(config, SIZES).budget == 60
    # At most the 300 images beside the initial ones.
    more = config.model_copy(update={"budget": BudgetConfig(unit="boxes", amount=500)})
    assert planned_in_images(more, SIZES).budget == 100
    job = PlannedJob("select", {"strategy": "cald", "cycle": "1"}, (), (), (), "", {})
    assert plan_work(config, SIZES._replace(boxes=1000), [job])["select"] == Work(1, seen=5 * 276)


def test_it_says_for_how_many_images_boxes_are_taken(tmp_path):
    path = tmp_path / "boxes.yaml"
    path.write_text("budget: {unit: boxes, amount: 3}")
    arguments = ["estimate", "--configfile", str(TINY), "--configfile", str(path)]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    assert (
        "A cycle's 3 boxes are taken for 3 images, the most that they can pay for: the boxes of an image"
        in done.stdout
    )


def test_jobs_of_a_step_are_added_up_in_the_order_of_the_pipeline():
    jobs = [PlannedJob("evaluate", {"round": "initial", "cycle": "0"}, (), (), (), "", {})] * 3
    found = plan_work(CONFIG, SIZES, [*jobs, PlannedJob("data", {}, (), (), (), "", {})])
    assert list(found.items()) == [("data", Work(1)), ("evaluate", Work(3, seen=90))]


def test_jobs_are_those_that_snakemake_plans():
    arguments = ["estimate", "--configfile", str(TINY), "--json"]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    found = {step: work["jobs"] for step, work in json.loads(done.stdout)["steps"].items()}
    assert (found["detector"], found["select"], found["variant"], found["synthesize"]) == (8, 6, 2, 1)


def test_data_that_are_not_there_are_stood_in_for_where_their_sizes_are_given(tmp_path):
    path = tmp_path / "absent.yaml"
    path.write_text(
        "{experiment: absent, data: {format: voc, root: nowhere}, strategies: [random], cycles: 1, initial: 10}"
    )
    done = CliRunner().invoke(mgral, ["estimate", "--configfile", str(path), "--sizes", "900", "10", "3", "--json"])
    steps = json.loads(done.stdout)["steps"]
    assert steps["detector"]["jobs"] == 2 * 3
    assert "synthesize" not in steps
    without = CliRunner().invoke(mgral, ["estimate", "--configfile", str(path)])
    assert "give --sizes TRAIN TEST CLASSES" in str(without.exception)
    few = CliRunner().invoke(mgral, ["estimate", "--configfile", str(path), "--sizes", "20", "10", "3"])
    assert "there are 20 training images" in str(few.exception)


def test_a_few_iterations_are_timed_here():
    arguments = ["estimate", "--configfile", str(TINY), "--measure", "--cores", "2", "--json"]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    found = json.loads(done.stdout)
    assert found["jobs_side_by_side"] == 2
    assert set(found["rates"]) == {"training_images_a_second", "inference_images_a_second", "steps_a_second"}
    assert all(rate > 0 for rate in found["rates"].values())
    assert found["steps"]["detector"]["hours"] > 0


@slow
def test_an_interrupt_ends_all_that_is_timed_without_traces(tmp_path):
    """Of the keyboard, which reaches the processes that are timed as well."""
    # A shell without job control starts what it leaves in the background with SIGINT ignored, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    code = "from mgral.cli.main import main; main()"
    options = ["estimate", "--configfile", TINY, "--measure", "--sizes", "24", "8", "2", "--cores", "2"]
    done = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, options)],
        cwd=tmp_path,
        start_new_session=True,
        text=True,
        stderr=subprocess.PIPE,
    )
    timed = []
    while len(timed) < 2:
        assert done.poll() is None
        # One that ends in this moment has no command any more.
        processes = [one for one in psutil.process_iter(["ppid", "cmdline"]) if one.info["ppid"] == done.pid]
        timed = [one for one in processes if "spawn_main" in " ".join(one.info["cmdline"] or ())]
        time.sleep(0.02)
    os.killpg(done.pid, signal.SIGINT)
    _, errors = done.communicate(timeout=60)
    assert done.returncode
    assert "Traceback" not in errors
    assert not psutil.wait_procs(timed, timeout=60)[1]


def test_disk_is_that_of_the_largest_artefacts():
    config = resolve_config(
        {"seeds": (0,), "strategies": ("mgral",), "lut": {"splits": 2, "variants": 5, "start": "warm"}}
    )
    jobs = {"detector": 3, "base": 2, "embed": 1, "table": 2, "evaluate": 3}
    work = {step: Work(count) for step, count in jobs.items()}
    disk = estimate_disk(config, Sizes(480, 160, 6), work, detector_bytes=1000)
    assert disk["image cache"] == 640 * 3 * 128 * 128
    assert disk["weights"] == 5 * 1000
    assert disk["embeddings"] == 480 * ((32 + 6) * 4 + 8)
    assert disk["tables"] == 2 * 5 * 40 * 4 * 6  # counts of six classes
    # Anew from labels, subsets are as large as what is labelled and measures no reward.
    anew = config.model_copy(update={"lut": config.lut.model_copy(update={"start": "cold"}), "initial": 90})
    assert estimate_disk(anew, Sizes(480, 160, 6), work, detector_bytes=1000)["tables"] == 2 * 5 * 54 * 4 * 6


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
    work = plan_work(config, find_sizes(config, tmp_path), plan_all(TINY))
    rows = [
        {"step": "detector", "jobs": work["detector"].jobs, "wall_s": 3600.0},
        {"step": "evaluate", "jobs": work["evaluate"].jobs + 1, "wall_s": 5.0},  # one of them was run again
    ]
    write_csv(tmp_path / "timings" / "costs_by_step.csv", rows, ("step", "jobs", "wall_s"))
    speeds = load_speeds([tmp_path], config, {})
    assert speeds.hours("detector", work["detector"]) == pytest.approx(1)
    assert speeds.hours("evaluate", work["evaluate"]) is None


@pytest.mark.parametrize(
    "content", ["", "step,jobs\ndetector,1\n", "step,jobs,wall_s\ndetector,one,2\n", "step,jobs,wall_s\nd\n"]
)
def test_a_run_of_damaged_times_gives_no_speeds(tmp_path, content):
    (tmp_path / "config.yaml").write_bytes(config_yaml(load_config(TINY)))
    (tmp_path / "timings").mkdir()
    (tmp_path / "timings" / "costs_by_step.csv").write_text(content)
    with pytest.raises(InputError, match=r"costs_by_step\.csv is damaged .*; delete it, and run"):
        load_speeds([tmp_path], load_config(TINY), {})


def test_the_size_of_a_data_set_comes_from_where_it_is_known(tmp_path):
    config = resolve_config({"data": {"format": "coco", "root": str(tmp_path / "data")}})
    with pytest.raises(InputError, match="is not known yet; give --sizes TRAIN TEST CLASSES, or run"):
        find_sizes(config, tmp_path)
    for split, count in (("train", 3), ("test", 2)):
        content = {
            "images": [{"id": i} for i in range(count)],
            "categories": [{"id": 1}, {"id": 2}],
            "annotations": [{}],
        }
        write_json(tmp_path / "data" / "annotations" / f"instances_{split}.json", content)
        write_json(tmp_path / "dataset" / f"{split}.json", {**content, "images": content["images"][1:]})
    assert find_sizes(config, tmp_path / "elsewhere") == Sizes(3, 2, 2, 1)
    assert find_sizes(config, tmp_path) == Sizes(2, 1, 2, 1)
    assert find_sizes(Config(), tmp_path) == Sizes(480, 160, 6)


@pytest.mark.parametrize(
    "content", [b'{"images": [', b"\x1f\x8b", b"[]", "é".encode("latin-1"), b"9" * 5000, b"[" * 200_000, b"{}"]
)
def test_a_faulty_annotation_file_is_named_as_by_the_step_data(tmp_path, content):
    (tmp_path / "annotations").mkdir()
    for split in ("train", "test"):
        (tmp_path / "annotations" / f"instances_{split}.json").write_bytes(content)
    config = resolve_config({"data": {"format": "coco", "root": str(tmp_path)}})
    with pytest.raises(FaultyDataError, match=r"Annotation files (cannot be read|lack a list)"):
        find_sizes(config, tmp_path / "results")


@pytest.mark.parametrize("kind", ["voc", "yolo"])
def test_faults_of_data_that_are_there_are_named(tmp_path, kind):
    config = resolve_config({"data": {"format": kind, "root": str(tmp_path)}})
    with pytest.raises(InputError, match=r"trainval\.txt|data\.yaml"):
        find_sizes(config, tmp_path / "results")


def test_without_speeds_it_says_how_to_get_hours(tmp_path):
    arguments = ["estimate", "--configfile", str(TINY), "--sizes", "1000", "10", "3"]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    assert "1000 training and 10 test images, 3 classes" in done.stdout
    assert "Hours need measured speeds: add --measure to time a few iterations on this machine" in done.stdout
    rates = tmp_path / "speeds.json"
    rates.write_text('{"detector": "small_ssd", "rates": {"training_images_a_second": 100}}')
    done = CliRunner().invoke(mgral, [*arguments, "--speeds", str(rates)], catch_exceptions=False)
    assert "No hours" not in done.stdout
    alone, _ = re.findall(r"^together .* (\d+\.\d+)$", done.stdout, flags=re.MULTILINE)
    done = CliRunner().invoke(mgral, [*arguments, "--speeds", str(rates), "--cores", "2"], catch_exceptions=False)
    (two, chain) = re.findall(r"With 2 jobs at once: ([\d.]+) hours, and never below ([\d.]+)", done.stdout)[0]
    assert max(float(chain), float(alone) / 2) <= float(two) + 0.01
    assert float(two) <= float(alone)
    assert "without evaluate, embed, variant, agent, select, of which no speed is known" in done.stdout


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[1]", "contains no rates"),
        ('{"rates": {}}', "contains no rates"),
        *(
            (f'{{"rates": {{"steps_a_second": {rate}}}}}', "steps_a_second is .* no speed; measure again")
            for rate in ("0", "-3", "NaN", "Infinity", "null", "true", '"fast"')
        ),
        ('{"detector": "ssd300_vgg16", "rates": {}}', "is of ssd300_vgg16, the experiment of small_ssd; measure"),
    ],
)
def test_speeds_that_are_none(tmp_path, content, message):
    (tmp_path / "speeds.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_speeds([tmp_path / "speeds.json"], Config(), {})
    with pytest.raises(InputError, match=r"contains no timings/costs_by_step\.csv; give the folder of a run that is"):
        load_speeds([tmp_path], Config(), {})


def test_a_run_of_another_detector_gives_no_speeds(tmp_path):
    (tmp_path / "config.yaml").write_bytes(config_yaml(load_config(TINY)))
    write_csv(tmp_path / "timings" / "costs_by_step.csv", [], ("step", "jobs", "wall_s"))
    with pytest.raises(
        InputError, match=r"was run with detector\.width 64, not 128, .*; give a run with the same detector"
    ):
        load_speeds([tmp_path], Config(), {})


def test_a_run_with_anchors_of_other_data_gives_its_speeds(tmp_path):
    ran = load_config(TINY)
    (tmp_path / "config.yaml").write_bytes(config_yaml(ran))
    write_csv(tmp_path / "timings" / "costs_by_step.csv", [], ("step", "jobs", "wall_s"))
    larger = tuple(1.1 * scale for scale in ran.detector.anchor_scales)
    detector = ran.detector.model_copy(update={"anchor_scales": larger})
    assert load_speeds([tmp_path], ran.model_copy(update={"detector": detector}), {}).rates == {}
    ratios = ran.detector.model_copy(update={"aspect_ratios": (2.0, 3.0, 4.0)})
    with pytest.raises(InputError, match=r"was run with detector\.aspect_ratios 1, not 3; give a run"):
        load_speeds([tmp_path], ran.model_copy(update={"detector": ratios}), {})
