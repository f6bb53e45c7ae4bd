"""Configuration files that are no configuration: each is refused by its name."""

import os
from pathlib import Path

import pytest
import yaml

from mgral.config import BudgetConfig, config_yaml, load_config, read_values, resolve_config
from mgral.errors import InputError

BOMB = "\n".join(
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)),
    ]
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("seeds: [0]\n".encode("utf-16"), "is not in UTF-8"),
        (b"seeds: [\xff]\n", "is not in UTF-8"),
        (b"seeds: &a [*a]\n", "holds more than 100,000 values"),
        (BOMB.encode(), "holds more than 100,000 values"),
        (b"seeds: " + b"[" * 5000, "nested too deeply"),
        (b"2024-99-99: 1\n", "is not YAML"),
        (b"seeds: \x00\n", "is not YAML"),
        (b"seeds: [\n", "is not YAML"),
        (b"", "contains no keys"),
        (
            b"seeds: [0]\ndata: {root: a, root: b}\nseeds: [1]\n",
            r"keys twice in a section: `root` \(lines 2 and 2\), `seeds` \(lines 1 and 3\); keep one",
        ),
    ],
)
def test_a_file_that_is_no_configuration_is_named(tmp_path, content, message):
    path = tmp_path / "odd.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"odd\.yaml.*{message}"):
        load_config(path)


def test_numbers_with_an_exponent_are_numbers(tmp_path):
    path = tmp_path / "numbers.yaml"
    path.write_text(
        "training: {learning_rate: 1e-3, weight_decay: 2.5E-4, gradient_norm: .5e1}\nagent: {learning_rate: 3e-3}\n"
    )
    training = load_config(path).training
    assert (training.learning_rate, training.weight_decay, training.gradient_norm) == (0.001, 0.00025, 5.0)
    assert load_config(path).agent.learning_rate == 0.003
    path.write_text("experiment: run1e3\n")
    assert load_config(path).experiment == "run1e3"


def test_a_budget_is_written_in_one_way(tmp_path):
    path = tmp_path / "budget.yaml"
    for content, budget in (("5", 5), ("{unit: images, amount: 5}", 5), ("{unit: boxes, amount: 5}", None)):
        path.write_text(f"budget: {content}")
        config = load_config(path)
        assert config.budget == (budget or BudgetConfig(unit="boxes", amount=5))
        written = yaml.safe_load(config_yaml(config))["budget"]
        assert written == (budget or {"unit": "boxes", "amount": 5})
        assert resolve_config({"budget": written}) == config


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("budget: 1e2", "budget: an integer has no point and no exponent; write 100"),
        (
            "budget: {unit: boxes, amount: 1e2}",
            "budget.amount: an integer has no point and no exponent; write 100",
        ),
        (
            "budget: {unit: pictures, amount: 5}",
            "budget.unit: Input should be 'images' or 'boxes', found 'pictures'; correct the value",
        ),
        ("budget: {unit: boxes}", "budget.amount: is required; add it"),
        ("budget: [5]", "budget: Input should be a valid integer, found (5,); correct the value"),
        ("experiment: 2e3", "experiment: YAML reads this name as 2000.0, which is no text; put it in quotes"),
        (
            "data: {format: yolov8}",
            "data.format: there is no format 'yolov8'; choose from synthetic, voc, coco, yolo, project",
        ),
        ("data: {root: /data}", "data.format: is required; add one of synthetic, voc, coco, yolo, project"),
        (
            "detector: {name: torchvision, weights: null}",
            "detector.model: is required; add it (torchvision's name of the detector): "
            "fasterrcnn_mobilenet_v3_large_320_fpn, fasterrcnn_resnet50_fpn_v2, fcos_resnet50_fpn, "
            "retinanet_resnet50_fpn_v2, ssdlite320_mobilenet_v3_large",
        ),
        (
            "detector: {name: transformers}",
            "detector.checkpoint: is required; add it (Folder with config.json and model.safetensors, as "
            "`save_pretrained` writes it)",
        ),
    ],
)
def test_a_value_of_another_sort_gets_the_right_hint(tmp_path, content, message):
    path = tmp_path / "odd.yaml"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_config(path)
    assert str(caught.value) == f"the configuration is not valid:\n  {message}"


def test_a_key_that_a_merged_section_has_too_is_no_repetition(tmp_path):
    path = tmp_path / "merged.yaml"
    path.write_text(
        "strategies:\n  a: {type: mgral, lut: &lut {labels: labels, start: base}}\n"
        "  b: {type: mgral, lut: &more {<<: *lut, labels: consistency}}\n"
        "  c: {type: mgral, lut: {<<: *more, labels: pseudo_labels}}\n"
    )
    found = read_values(path)["strategies"]
    assert [found[name]["lut"]["labels"] for name in "abc"] == ["labels", "consistency", "pseudo_labels"]
    assert found["c"]["lut"]["start"] == "base"


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_named_and_not_waited_for(tmp_path, make):
    make(tmp_path / "odd.yaml")
    with pytest.raises(InputError, match=r"odd\.yaml is no regular file; name"):
        load_config(tmp_path / "odd.yaml")


def test_the_data_folder_has_a_name(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("data: {format: coco, root: ''}\n")
    with pytest.raises(InputError, match=r"data\.root: .* at least 1 character"):
        load_config(path)


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    path = tmp_path / "marked.yaml"
    path.write_text("\ufeffseeds: [3]\n", encoding="utf-8")
    assert load_config(path).seeds == (3,)


def test_the_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    path = tmp_path / "home.yaml"
    path.write_text("data: {format: coco, root: ~/pictures}\n")
    assert load_config(path).data.root == "/home/someone/pictures"


@pytest.mark.parametrize(
    "values", [{"iterations": {"detector": {"small_ssd": 60}}}, {"training": {"momentum": {"a": 1}}}]
)
def test_a_section_in_the_place_of_a_number_is_refused(values):
    with pytest.raises(InputError, match="the configuration is not valid"):
        resolve_config({"detector": {"name": "small_ssd"}} | values)
