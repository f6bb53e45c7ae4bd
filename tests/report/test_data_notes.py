"""The report's section on the data: what was repaired, and near-copies."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fabricated_results import IMAGES, SIDE, fabricate

from mgral.artefacts.files import write_json
from mgral.cli.steps.report import command
from mgral.data.groups import Groups, NearCopy

REPAIR = {"kind": "images were <turned> upright", "advice": "as EXIF says", "count": 7, "places": list("abcdefg")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    fabricate(tmp_path, seeds=(0,), strategies=("random",), cycles=1)
    return tmp_path


def report(folder: Path) -> str:
    paths = ["--config", folder / "config.yaml", "--results", folder, "--output", folder / "report.html"]
    CliRunner().invoke(command, [str(path) for path in paths], catch_exceptions=False)
    page = (folder / "report.html").read_text()
    ElementTree.fromstring(page)  # is well-formed
    return page


def section(page: str) -> str:
    return " ".join(page.split('<details id="data">')[1].split("</details>")[0].split())


def write_groups(folder: Path, pairs: tuple[NearCopy, ...]) -> None:
    write_json(folder / "dataset" / "groups.json", Groups(((100, 101), (102, 103, 104)), pairs, 8, 3).as_json())


def test_without_notes_there_is_no_section(folder: Path) -> None:
    page = report(folder)
    assert 'id="data"' not in page
    assert "#data" not in page


def test_repairs_of_both_steps_are_listed(folder: Path) -> None:
    write_json(folder / "dataset" / "repairs.json", [{**REPAIR, "kind": "boxes", "count": 2, "places": ["x", "y"]}])
    write_json(folder / "dataset" / "pictures.json", [REPAIR])
    found = section(report(folder))
    rows = [[cell.split(">")[-1] for cell in row.split("</t")][:4] for row in found.split("<tr>")[2:]]
    assert rows[0] == ["2", "boxes", "as EXIF says", "x, y"]
    assert rows[1] == ["7", "images were &lt;turned&gt; upright", "as EXIF says", "a, b, c, d, e, …"]
    assert "near-cop" not in found


def test_near_copies_are_a_warning_with_examples(folder: Path) -> None:
    pairs = tuple(NearCopy(900 + n, 100 + n, n / 2) for n in range(8))
    write_groups(folder, pairs[:7])
    listed = [{"id": 900 + n, "file_name": f"t{n}.jpg", "width": SIDE, "height": SIDE // 2} for n in range(8)]
    categories = json.loads((folder / "dataset" / "train.json").read_text())["categories"]
    write_json(folder / "dataset" / "test.json", {"images": listed, "annotations": [], "categories": categories})
    np.save(folder / "dataset" / "test.npy", np.zeros((8, SIDE, SIDE, 3), np.uint8))
    found = section(report(folder))
    assert "7 of 8 test images (87.5 %) have a near-copy among the training images." in found
    assert f"5 of {IMAGES} training images are in 2 groups" in found
    assert "For 3 more test images" in found
    assert found.count("<figure>") == 6
    assert found.count("data:image/jpeg") == 12
    shown = [n for n in range(7) if f"{n / 2:.1f} grey levels" in found]
    assert shown == [0, 1, 2, 4, 5, 6]  # spread from the nearest to the least near
    assert 'title="t0.jpg"' in found
    assert f'width="{SIDE}" height="{SIDE // 2}"' in found  # the aspect ratio of the original


def test_a_split_without_near_copies_says_so(folder: Path) -> None:
    write_groups(folder, ())
    found = section(report(folder))
    assert "No test image of 8 has a near-copy among the training images." in found
    assert "<figure>" not in found
