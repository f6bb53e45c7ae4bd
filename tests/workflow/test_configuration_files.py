"""What a run is configured by: files, overrides, the data they name, and the schema that editors check against."""

import json
import shlex

import pytest
import yaml
from click.testing import CliRunner
from run_workflow import ROOT, planned, snakemake

from mgral.cli.steps.config import command
from mgral.config import Config, config_schema, config_yaml, load_config, resolve_config
from mgral.engine.data_files import annotation_files, label_state
from mgral.engine.needs import check_data
from mgral.engine.workflow import (
    config_options,
    configure,
    data_warning,
    refresh_config,
)
from mgral.errors import InputError


def test_a_strategy_that_does_not_exist_is_named_and_nothing_else_is_said():
    with pytest.raises(InputError) as caught:
        resolve_config({"strategies": ["ppall"]})
    head = "the configuration is not valid:\n  strategies: there is no strategy 'ppall'; choose from"
    assert str(caught.value).startswith(head)
    assert str(caught.value).count("\n") == 1
    with pytest.raises(InputError, match="strategies: Dictionary should have at least 1 item"):
        resolve_config({"strategies": []})


@pytest.fixture
def voc(tmp_path):
    for name in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / name).mkdir(parents=True)
    for split in ("trainval", "test"):
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").touch()
    return tmp_path


def write_yaml(path, values):
    path.write_text(yaml.safe_dump(values))
    return path


def test_configuration_file_stands_alone(tmp_path):
    default = write_yaml(tmp_path / "params.yaml", {"budget": 7, "cycles": 2})
    other = write_yaml(tmp_path / "other.yaml", {"cycles": 4})
    assert configure([default], {}).budget == 7
    assert configure([other], {}) == resolve_config({"cycles": 4})


def test_a_configuration_without_data_is_told_to_be_of_synthetic_images(tmp_path):
    file = write_yaml(tmp_path / "mine.yaml", {"initial": 4, "budget": 2})
    assert "has no section `data`, so synthetic images are drawn" in data_warning(configure([file], {}))
    named = write_yaml(tmp_path / "named.yaml", {"data": {"format": "synthetic"}})
    for config in (
        configure([named], {}),
        configure([file, named], {}),
        configure([file], {"data": {"format": "synthetic"}}),
    ):
        assert not data_warning(config)


def test_later_file_and_overrides_win_key_by_key(tmp_path):
    first = write_yaml(tmp_path / "first.yaml", {"budget": 7, "agent": {"episodes": 5, "samples": 3}})
    second = write_yaml(tmp_path / "second.yaml", {"agent": {"episodes": 6}})
    config = configure([first, second], {"agent": {"learning_rate": "2e-3"}, "seeds": ["3", "4"]})
    assert (config.budget, config.agent.episodes, config.agent.samples) == (7, 6, 3)
    assert config.agent.learning_rate == 0.002
    assert config.seeds == (3, 4)


def test_config_options_make_the_same_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    overrides = {"agent": {"learning_rate": "2e-3"}, "seeds": ["3", "4"]}
    first = write_yaml(tmp_path / "first.yaml", {"budget": 7})
    options = shlex.split(config_options([first], overrides))
    assert options[:2] == ["--configfile", "first.yaml"]
    done = CliRunner().invoke(command, options)
    assert done.exit_code == 0
    assert done.output.encode() == config_yaml(configure([first], overrides))


def test_another_format_replaces_the_data_section(tmp_path, voc):
    default = write_yaml(tmp_path / "params.yaml", {"data": {"format": "synthetic", "train_images": 300}})
    config = configure([default], {"data": {"format": "voc", "root": str(voc), "strict": "true"}})
    assert config.data.format == "voc"
    assert config.data.strict is True
    kept = configure([default], {"data": {"test_images": "9"}})
    assert (kept.data.train_images, kept.data.test_images) == (300, 9)


def test_another_detector_replaces_the_section(tmp_path):
    default = write_yaml(tmp_path / "params.yaml", {"detector": {"channels": 8, "width": 64}})
    given = {"name": "torchvision", "model": "fcos_resnet50_fpn", "weights": "null", "width": "96"}
    detector = configure([default], {"detector": given}).detector
    assert (detector.model, detector.weights, detector.width) == ("fcos_resnet50_fpn", None, 96)
    kept = configure([default], {"detector": {"width": "32"}}).detector
    assert (kept.channels, kept.width) == (8, 32)


def test_missing_list_is_named(voc):
    (voc / "ImageSets" / "Main" / "test.txt").unlink()
    with pytest.raises(InputError, match=r"there is no file .*test\.txt; correct"):
        check_data(configure([ROOT / "params.yaml"], {"data": {"format": "voc", "root": str(voc)}}))


def test_every_list_of_several_years_is_watched_and_its_folder_checked(tmp_path):
    data = {
        "format": "voc",
        "root": str(tmp_path),
        "train_split": ["VOC2007/a", "VOC2012/a"],
        "test_split": "VOC2007/b",
    }
    config = resolve_config({"data": data})
    lists = [tmp_path / name for name in ("VOC2007", "VOC2012", "VOC2007")]
    assert annotation_files(config) == [
        str(folder / "ImageSets/Main" / name) for folder, name in zip(lists, ("a.txt", "a.txt", "b.txt"), strict=True)
    ]
    (tmp_path / "VOC2007/Annotations").mkdir(parents=True)
    (tmp_path / "VOC2007/JPEGImages").mkdir()
    with pytest.raises(InputError, match=r"there is no folder .*VOC2012/Annotations"):
        check_data(config)


def test_annotation_files():
    assert annotation_files(Config()) == []
    coco = resolve_config({"data": {"format": "coco", "root": "r", "train_annotations": "a.json"}})
    assert annotation_files(coco) == ["r/a.json", "r/annotations/instances_test.json"]
    yolo = resolve_config({"data": {"format": "yolo", "root": "r", "data_yaml": "a/b.yaml"}})
    assert annotation_files(yolo) == ["r/a/b.yaml"]
    voc = resolve_config({"data": {"format": "voc", "root": "r"}})
    assert annotation_files(voc) == ["r/ImageSets/Main/trainval.txt", "r/ImageSets/Main/test.txt"]


def test_a_label_of_yolo_that_changes_and_a_picture_that_is_added_are_seen(tmp_path):
    config = resolve_config({"data": {"format": "yolo", "root": str(tmp_path)}})
    with pytest.raises(InputError, match=r"there is no file .*data\.yaml"):
        check_data(config)
    for name in ("data.yaml", "labels/train/a.txt", "images/train/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    check_data(config)
    before = label_state(config)
    assert label_state(config) == before
    (tmp_path / "labels/train/a.txt").write_text("0 0.5 0.5 0.1 0.1")
    corrected = label_state(config)
    (tmp_path / "images/train/b.jpg").touch()
    assert len({before, corrected, label_state(config)}) == 3


def test_only_an_existing_config_is_refreshed(tmp_path):
    path = tmp_path / "config.yaml"
    refresh_config(Config(), path)
    assert not path.exists()
    path.write_text("budget: 1\n")
    refresh_config(Config(), path)
    assert load_config(path) == Config()
    written = path.stat().st_mtime_ns
    refresh_config(Config(), path)
    assert path.stat().st_mtime_ns == written


def test_schema_is_that_of_the_model():
    kept = json.loads((ROOT / "workflow" / "schemas" / "config.schema.json").read_text())
    assert kept == config_schema(), "run `make schema`"


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "config").glob("*.yaml"))], ids=lambda p: p.stem
)
def test_configurations_are_valid_and_keep_to_their_own_folder(path):
    assert load_config(path).experiment == ("synthetic" if path.stem == "params" else path.stem)


def test_a_corrected_label_is_seen_by_the_next_run(tmp_path):
    """Snakemake watches files, and a VOC folder has one for each image."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    for split in ("trainval", "test"):
        (tmp_path / f"set/ImageSets/Main/{split}.txt").write_text(f"{split}1\n{split}2\n")
    labels = [tmp_path / f"set/Annotations/{split}{n}.xml" for split in ("trainval", "test") for n in (1, 2)]
    for path in labels:
        path.write_text("<annotation/>")
    config = tmp_path / "voc.yaml"
    config.write_text("{experiment: watched, initial: 1, cycles: 1, budget: 1, data: {format: voc, root: set}}")
    wanted = ["results/watched/dataset/train.json", "--configfile", config, "--cores", "1"]
    assert snakemake(tmp_path, *wanted, stub=True).returncode == 0
    assert planned(tmp_path, *wanted, stub=True) == []
    labels[0].write_text("<annotation> </annotation>")
    assert [rule for rule, _ in planned(tmp_path, *wanted, stub=True)] == ["data"]


def test_the_state_of_labels_follows_every_file(tmp_path):
    config = resolve_config({"data": {"format": "voc", "root": str(tmp_path), "train_split": ["A/a", "B/a"]}})
    states = [label_state(config)]
    for name in ("Annotations/t.xml", "A/Annotations/sub/x.xml", "B/Annotations/x.xml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
        states.append(label_state(config))
    (tmp_path / name).write_text("longer")
    states.append(label_state(config))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "B/Annotations/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/round").symlink_to(tmp_path / "B/Annotations")
    (tmp_path / "elsewhere/y.xml").touch()
    states.append(label_state(config))
    assert len(set(states)) == 6
    assert label_state(Config()) == ""
