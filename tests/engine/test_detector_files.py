"""A backbone that timm has not is refused before the first job, and so are files that Snakemake cannot name."""

import os
import time

import pytest

from mgral.config import resolve_config
from mgral.engine.needs import check_files
from mgral.errors import InputError


def config(backbone, **own):
    return resolve_config({"detector": {"name": "ssd", "backbone": backbone, **own}})


@pytest.mark.parametrize(
    "backbone",
    ["tf_efficientnet_lite0", "resnet18", "resnet18.a1_in1k", "tf_efficientnet_b0_ap", "tv_resnext50_32x4d"],
)
def test_backbones_of_timm_are_known(backbone):
    check_files(config(backbone))


def test_another_is_refused_with_names_like_it():
    with pytest.raises(
        InputError, match=r"timm has no 'resnet19'; perhaps .*resnet18.*\n.*there is no file no/w\.pth"
    ):
        check_files(config("resnet19", weights="no/w.pth"))


@pytest.mark.parametrize("name", ["qqqqqqqqqqqq", "return"])
def test_a_name_unlike_all_is_refused(name):
    with pytest.raises(InputError, match=rf"detector\.backbone: timm has no '{name}'; choose another"):
        check_files(config(name))


def test_braces_in_the_name_of_weights_are_refused(tmp_path):
    path = tmp_path / "{seed}.pth"
    path.touch()
    with pytest.raises(InputError, match=r"detector\.weights: Snakemake takes the braces in .*\{seed\}\.pth for"):
        check_files(config("resnet18", weights=str(path)))


def test_braces_in_the_path_of_data_are_refused(tmp_path):
    folder = tmp_path / "{seed}"
    folder.mkdir()
    data = {"format": "coco", "root": str(folder)}
    with pytest.raises(InputError, match=r"data: Snakemake takes the braces in .*\{seed\} for"):
        check_files(resolve_config({"data": data, "cycles": 1, "initial": 2, "budget": 2}))


def test_files_from_the_future_are_named_with_what_to_do(tmp_path):
    """Snakemake would take all that is made of them for outdated, and end."""
    for name in ("train.json", "test.json"):
        (tmp_path / name).write_text("{}")
    tomorrow = time.time() + 86400
    os.utime(tmp_path / "train.json", (tomorrow, tomorrow))
    data = {"format": "coco", "root": str(tmp_path)} | dict.fromkeys(("train_images", "test_images"), ".")
    data |= {"train_annotations": "train.json", "test_annotations": "test.json"}
    with pytest.raises(InputError, match=r"changed in the future.*touch \S+train\.json$"):
        check_files(resolve_config({"data": data, "cycles": 1, "initial": 2, "budget": 2}))
