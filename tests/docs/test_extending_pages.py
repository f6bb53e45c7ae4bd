"""The code of the pages on detectors and formats, installed as a reader would and run.

That of the page on strategies is examples/plugin_strategy: tests/workflow/test_plug_in.py.
"""

import sys
import tomllib

import numpy as np
import pytest
from any_detector import found_in_squares, trained
from installing import install
from pages import DOCS, blocks
from PIL import Image
from run_workflow import TINY, snakemake
from slow import slow

from mgral.config import detectors, resolve_config
from mgral.data.check import check_splits
from mgral.data.dataset import as_dataset
from mgral.data.findings import Findings
from mgral.errors import InputError
from mgral.models.build import load_detector, save_detector


def only(page: str, language: str) -> str:
    """Return the one block of a page in a language."""
    (block,) = blocks(DOCS / page, language)
    return block.text


@pytest.fixture
def centres(tmp_path, monkeypatch):
    """Install the detector of the page, and return the folder in which it is."""
    detectors.detectors()
    monkeypatch.setattr(detectors, "_sections", dict(detectors._sections))
    packages = tmp_path / "packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(packages)
    detectors._import_all.cache_clear()
    detectors.entry_points.cache_clear()
    ((group, points),) = tomllib.loads(only("extending-detector.md", "toml"))["project"]["entry-points"].items()
    ((name, module),) = points.items()
    install(packages, module, only("extending-detector.md", "python"), group, f"{name} = {module}")
    yield packages
    sys.modules.pop(module, None)
    detectors._import_all.cache_clear()
    detectors.entry_points.cache_clear()


def test_the_detector_of_the_page_learns_to_find_squares(centres, tmp_path):
    config = resolve_config({"detector": {"name": "centres", "side": 64}}).detector
    detector, history = trained(config, 150, learning_rate=3e-3)
    assert history[-1]["loss"] < history[0]["loss"] / 3
    best = {}
    for one in found_in_squares(detector, config):
        best.setdefault(one["image_id"], one)
    assert len(best) == 4
    assert all(one["bbox"][2:] == pytest.approx([48, 48], abs=12) for one in best.values())
    save_detector(detector, tmp_path / "detector.safetensors")
    again = load_detector(tmp_path / "detector.safetensors", config, 1)
    assert found_in_squares(again, config) == found_in_squares(detector, config)


@slow
@pytest.mark.timeout(900)
def test_the_detector_of_the_page_goes_through_an_experiment(centres, tmp_path):
    """In the place of the tiny experiment's, with a strategy that asks what it finds, and with MGRAL's tables."""
    folder = tmp_path / "experiment"
    folder.mkdir()
    text = TINY.read_text()
    section = text[text.index("detector:") : text.index("training:")]
    (folder / "mine.yaml").write_text(text.replace(section, "detector: {name: centres}\n", 1))
    asked = ("--config", "cycles=1", "strategies=[random, entropy_sum, mgral_greedy]")
    done = snakemake(folder, "--cores", "2", "--configfile", folder / "mine.yaml", *asked, PYTHONPATH=str(centres))
    assert done.returncode == 0, done.stdout
    assert (folder / "results" / "tiny" / "report.html").exists()


@pytest.fixture
def read_csv():
    """Return the section and the reader of the page."""
    names = {"__name__": "csv_of_the_page"}
    exec(only("extending-format.md", "python"), names)
    return names["CsvData"], names["read_csv"]


def write_pictures(folder, *lines):
    for name in ("a.png", "b.png", "c.png"):
        Image.fromarray(np.full((20, 30, 3), ord(name[0]), np.uint8)).save(folder / name)
    head = "picture,class,x,y,width,height"
    (folder / "train.csv").write_text("\n".join([head, *lines]))
    (folder / "test.csv").write_text(f"{head}\nc.png,cat,0,0,10,10\n")


def test_the_format_of_the_page_is_read_and_passes_the_shared_checks(read_csv, tmp_path):
    section, read = read_csv
    write_pictures(tmp_path, "b.png,dog,1,2,3,4", "b.png,cat,5,6,7,8", "a.png,,,,,")
    findings, data = Findings(), section(format="csv", root=str(tmp_path))
    checked = check_splits(*read(tmp_path, data, findings), tmp_path, data, findings)
    train, test = as_dataset(checked.train), as_dataset(checked.test)
    assert [category.name for category in train.categories] == ["cat", "dog"]
    boxes = dict(zip(train.file_names, (one.tolist() for one in train.boxes), strict=True))
    assert boxes == {"a.png": [], "b.png": [[1, 2, 4, 6], [5, 6, 12, 14]]}
    assert dict(zip(train.file_names, (one.tolist() for one in train.labels), strict=True))["b.png"] == [1, 0]
    assert test.boxes[0].tolist() == [[0, 0, 10, 10]]


def test_the_format_of_the_page_notes_faults(read_csv, tmp_path):
    section, read = read_csv
    write_pictures(tmp_path, "a.png,dog,left,2,3,4", "b.png,dog,1,2,300,4")
    findings, data = Findings(), section(format="csv", root=str(tmp_path))
    splits = read(tmp_path, data, findings)
    with pytest.raises(InputError, match=r"(?s)Lines have a box that is not four numbers \(1\).*train\.csv: line 2"):
        check_splits(*splits, tmp_path, data, findings)
