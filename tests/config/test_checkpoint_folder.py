"""Faulty JSON of a checkpoint folder is refused when the configuration is read, with the file and what to do."""

import json

import pytest

from mgral.config import resolve_config
from mgral.errors import InputError

NORMALISED = {"do_normalize": True}


def refusal(folder, architecture, preprocessor=None, **own):
    for name, content in (("config.json", architecture), ("preprocessor_config.json", preprocessor)):
        if content is not None:
            (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(InputError) as raised:
        resolve_config({"detector": {"name": "transformers", "checkpoint": str(folder), **own}})
    return str(raised.value)


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ({"model_type": ["detr"]}, "config.json is of the model type ['detr']; choose a detector of one of these"),
        ("[" * 100_000, "config.json is not JSON"),
        ({"model_type": "rf_detr", "backbone_config": {"patch_size": "x"}}, "no usable patch_size, found 'x'"),
        ({"model_type": "rf_detr", "backbone_config": {"num_windows": 0}}, "no usable num_windows, found 0"),
        ({"model_type": "rf_detr", "backbone_config": ["a"]}, "no usable patch_size, found None"),
    ],
)
def test_a_faulty_architecture_is_refused(architecture, message, tmp_path):
    assert message in refusal(tmp_path, architecture)


@pytest.mark.parametrize(("key", "setting"), [("image_mean", "mean"), ("image_std", "deviation")])
def test_normalisation_by_one_number_is_refused(key, setting, tmp_path):
    text = refusal(tmp_path, {"model_type": "detr"}, NORMALISED | {key: 0.5})
    assert f"preprocessor_config.json: {key} is no list of three numbers, found 0.5; correct it, or set" in text
    assert text.endswith(f"detector.{setting}")


def test_normalisation_of_null_is_that_of_imagenet(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "detr"}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(NORMALISED | {"image_mean": None}))
    config = resolve_config({"detector": {"name": "transformers", "checkpoint": str(tmp_path)}})
    assert config.detector.mean == (0.485, 0.456, 0.406)


def test_both_sides_are_told_at_once(tmp_path):
    text = refusal(tmp_path, {"model_type": "detr"}, width=33, height=65)
    assert "detector.width: detr takes multiples of 32" in text
    assert "detector.height: detr takes multiples of 32" in text
