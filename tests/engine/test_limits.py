"""What is refused before the first job: places that cannot be written to, and sizes that no machine has."""

import json
import os
from collections import namedtuple

import pytest
from run_workflow import TINY, planned, snakemake

from mgral.config import Config, resolve_config
from mgral.engine import limits
from mgral.engine.configfiles import explain_command
from mgral.engine.limits import check_card_resources, check_disk, check_folder, check_images, check_jobs, check_memory
from mgral.errors import InputError, StepError


@pytest.mark.parametrize("name", ["results", "results/tiny"])
def test_a_file_in_the_place_of_results_is_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    done = snakemake(tmp_path, "--cores", "1", "--configfile", TINY)
    assert done.returncode == 2
    assert f"mgral: {name} is no folder, and results are to be written there; move it away\n" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    """By the answer of the system, as tests may run as root, who may write anywhere."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    monkeypatch.setattr(os, "access", lambda path, _: path != tmp_path / "results" and path.name != "results")
    check_folder(tmp_path / "results" / "x")
    with pytest.raises(InputError, match=r"the folder .*/results cannot be written to; make it writable"):
        check_disk(Config(), tmp_path / "results" / "x")


def test_a_full_disk_is_named_before_snakemake_writes_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: namedtuple("usage", "free")(1000))
    with pytest.raises(StepError, match=r"Snakemake's own files need 1 MB of disk in .*, and 0 MB are free"):
        check_folder(tmp_path / "results" / "x")


def test_space_for_the_images_is_looked_for_once(tmp_path, monkeypatch):
    """40 images of 10 x 10 pixels and their files, beside what small files take."""
    data = {"format": "synthetic", "train_images": 30, "test_images": 10}
    sizes = {"initial": 10, "budget": 10, "cycles": 1, "detector": {"width": 10, "height": 10}}
    config = resolve_config({"data": data, **sizes})
    needed = limits.SMALL_FILES_BYTES + 40 * (300 + limits.SCENE_BYTES)
    usage = namedtuple("usage", "free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(needed))
    check_disk(config, tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(needed - 1))
    with pytest.raises(StepError, match=r"need 11 MB of disk in .*, and 11 MB are free; free space"):
        check_disk(config, tmp_path)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "train.npy").touch()
    check_disk(config, tmp_path)


def listed(folder, format):
    """Return the section of a data set that lists five training images, whose pictures and labels are not there."""
    if format == "coco":
        (folder / "train.json").write_text(json.dumps({"images": [{"id": number} for number in range(5)]}))
        return {"format": format, "train_annotations": "train.json"}
    if format == "voc":
        (folder / "ImageSets" / "Main").mkdir(parents=True)
        (folder / "ImageSets" / "Main" / "trainval.txt").write_text("a\nb\n\nc\nd\ne\na\n")
        return {"format": format}
    (folder / "train.txt").write_text("".join(f"images/{name}.jpg\n" for name in "abcde"))
    (folder / "data.yaml").write_text("train: train.txt\nval: train.txt\nnames: [ant]\n")
    return {"format": format}


@pytest.mark.parametrize("format", ["coco", "voc", "yolo"])
@pytest.mark.parametrize(
    ("sizes", "fits"),
    [
        ((2, 1, 4), "lower budget to 3 or initial to 1"),
        ((1, 3, 2), "lower budget to 1"),
        ((9, 2, 2), "lower initial to 1"),
        ((9, 2, 9), "lower budget, cycles and initial"),
    ],
)
def test_more_labels_than_a_data_set_lists_are_refused_with_what_fits(tmp_path, format, sizes, fits):
    initial, cycles, budget = sizes
    data = {"root": str(tmp_path), **listed(tmp_path, format)}
    config = resolve_config({"data": data, "initial": initial, "cycles": cycles, "budget": budget})
    asked = initial + cycles * budget
    with pytest.raises(InputError, match=rf"are {asked}, but there are 5 training images; {fits}$"):
        check_images(config)
    check_images(config.model_copy(update={"initial": 1, "cycles": 2, "budget": 2}))


def test_of_a_damaged_or_large_list_the_step_that_reads_it_speaks(tmp_path, monkeypatch):
    data = {"root": str(tmp_path), **listed(tmp_path, "coco")}
    config = resolve_config({"data": data, "initial": 6})
    with pytest.raises(InputError):
        check_images(config)
    monkeypatch.setattr("mgral.data.read.QUICK_BYTES", 10)
    check_images(config)
    (tmp_path / "train.json").write_text("{")
    check_images(config)
    (tmp_path / "train.json").unlink()
    check_images(config)


@pytest.mark.parametrize("value", ["one", -1, 0.5])
def test_a_number_of_gpus_that_is_none_is_named(value):
    check_card_resources({("detector", "gpu"): 1, ("base", "gpu"): 0, ("data", "vram_mb"): None})
    with pytest.raises(InputError, match=f"--set-resources detector:gpu={value}: it is no whole number from 0"):
        check_card_resources({("base", "gpu"): 1, ("detector", "gpu"): value})


SLICED = {"distance": "sliced", "estimator": "kernel"}


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (
            {"detector": {"channels": 1_000_000}},
            "the detector needs more than .*; lower the channels of detector small_ssd",
        ),
        ({"training": {"batch_size": 10**8}}, "a training step needs .*, or training.batch_size"),
        ({"detector": {"width": 10**7, "height": 10**6}}, "a training step needs .*detector small_ssd"),
        ({"agent": {"hidden": 10**9}}, "an episode of mgral needs .*; lower agent.samples or agent.hidden"),
        ({"agent": {"policy": "lstm", "hidden": 10**6}}, "the agent of mgral needs .*; lower agent.hidden"),
        ({"agent": {"samples": 10**9}}, "an episode of mgral needs .*; lower agent.samples"),
        (
            {
                "strategies": {
                    "a": {
                        "type": "mgral",
                        "agent": {"policy": "lstm"},
                        "reward": {"distance": "sliced", "estimator": "kernel", "projections": 10**9},
                    }
                }
            },
            "the lookup table of a needs .*; lower reward.projections",
        ),
    ],
)
def test_a_setting_that_needs_more_memory_than_there_is_is_named(values, what):
    check_memory(Config(), on_gpus=False)
    with pytest.raises(InputError, match=what):
        check_memory(resolve_config({"strategies": ["mgral", "random"]} | values), on_gpus=False)


def test_a_training_on_a_gpu_needs_its_memory_and_not_ours():
    check_memory(resolve_config({"training": {"batch_size": 100_000}}), on_gpus=True)


@pytest.mark.parametrize("values", [{"lut": {"variants": 10**9}}, {"lut": {"splits": 10**9}}])
def test_more_jobs_than_can_be_planned_are_refused(values):
    check_jobs(resolve_config({"lut": {"variants": 1000}}))
    check_jobs(resolve_config({"lut": {"variants": 10**9, "variants_per_job": 10**9}}))
    with pytest.raises(InputError, match=r"about [\d,]+ jobs, and at most 100,000 can be planned; use fewer seeds"):
        check_jobs(resolve_config(values))


def test_an_absurd_size_ends_before_the_first_job(tmp_path):
    done = snakemake(tmp_path, "--cores", "1", "--configfile", TINY, "--config", "detector={channels: 1000000}")
    assert done.returncode == 2
    assert "mgral: the detector needs more than" in done.stdout
    assert not (tmp_path / "results" / "tiny" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("-n", None),
        ("--configfile a.yaml b.yaml --cores 1", None),
        ("fidelity --cores all --configfile a.yaml", None),
        (
            "-n --configfile a.yaml fidelity",
            "name targets first: mgral snakemake fidelity --cores all --configfile a.yaml",
        ),
        (
            "--configfile=a.yaml results/x/report.html",
            "snakemake results/x/report.html --cores all",
        ),
        ("--configfiles a.yaml results/x/metrics.json", "and so results/x/metrics.json for a configuration"),
        ("--configfile none.yaml", "none.yaml: No such file or directory; name an existing configuration file"),
        ("--configfile utf16.yaml -n", "utf16.yaml is not in UTF-8; save it in that encoding"),
        ("--configfile text.yaml", "text.yaml contains no keys"),
        ("--config budget=3 seeds=[0,1] -n", None),
        ("-C budget", "--config: 'budget' is no setting; write KEY=VALUE"),
        ("--config lut.a.b=4", "--config: 'lut.a.b' is no key; write --config \"lut={a: {b: 4}}\""),
        ("--config=a=1", "--config: 'a' is no key; docs/reference/configuration.md lists the keys"),
    ],
)
def test_what_snakemake_cannot_read_is_explained(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text("budget: 3\n")
    (tmp_path / "utf16.yaml").write_bytes("budget: 3\n".encode("utf-16"))
    (tmp_path / "text.yaml").write_text("text\n")
    found = explain_command(words.split())
    assert found is None if message is None else message in found


def test_a_result_is_no_configuration(tmp_path):
    result = tmp_path / "results" / "tiny" / "metrics.json"
    result.parent.mkdir(parents=True)
    result.write_text("{}")
    done = snakemake(tmp_path, "--cores", "1", "--configfile", TINY, "results/tiny/metrics.json")
    assert done.returncode == 2
    assert "name targets first: mgral snakemake results/tiny/metrics.json --cores all --configfile" in done.stdout


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"experiment": "ab" * 150}, "experiment: a name has at most 100 letters, found 300; shorten it"),
        ({"strategies": {"y" * 101: {"type": "random"}}}, "strategies.*: a name has at most 100 letters"),
        ({"experiment": "x" * 30}, "the name x+ ends in the same letters twenty times"),
        ({"strategies": {"y" * 30: {"type": "random"}}}, "the name y+ ends in the same letters twenty times"),
        ({"seeds": [int("1" * 24)]}, "seeds.0: Input should be less than or equal to"),
    ],
)
def test_names_and_seeds_that_no_path_can_hold_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        resolve_config(values)


def test_names_and_numbers_within_others_are_told_apart(tmp_path):
    names = {"a": "random", "a-a": "random", "aa": "random", "initial": "random"}
    strategies = f"strategies={{{', '.join(f'{name}: {{type: {type_}}}' for name, type_ in names.items())}}}"
    longest = f"experiment={'experiment' * 9}-{'0123456789'[:9]}"
    changes = ("seeds=[-1, 11, 111111111111111111]", "cycles=11", "initial=4", "budget=1", strategies, longest)
    jobs = planned(tmp_path, "--configfile", TINY, "--config", *changes)
    selections = [(w["seed"], w["strategy"], w["cycle"]) for rule, w in jobs if rule == "select"]
    assert len(set(selections)) == len(selections) == 3 * len(names) * 11
