"""The report and the page of an experiment whose budget is in boxes."""

import csv
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from fabricated_results import finish

from mgral.cli.tools import results

SEEDS, STRATEGIES, AMOUNT = (0, 1, 2), ("random", "bright-1"), 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finish(tmp_path_factory.mktemp("results"), budget={"unit": "boxes", "amount": AMOUNT})


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_each_cycle_adds_its_boxes_but_for_the_last_image(folder: Path) -> None:
    for strategy in STRATEGIES:
        for seed in map(str, SEEDS):
            rows = [
                row
                for row in rows_of(folder / "tables" / "detectors.csv")
                if (row["strategy"], row["seed"]) == (strategy, seed)
            ]
            start, *later = [int(row["boxes"]) for row in rows]
            over = [boxes - start - cycle * AMOUNT for cycle, boxes in enumerate(later, start=1)]
            # An image has five boxes at most.
            assert all(0 <= more < 5 for more in over)


def test_batches_are_what_was_paid_and_not_all_that_was_chosen(folder: Path) -> None:
    coco = json.loads((folder / "dataset" / "train.json").read_text())
    place = folder / "seed1" / "strategies" / "bright-1"
    before, after = (set(json.loads((place / f"cycle{n}/labelled.json").read_text())["images"]) for n in (1, 2))
    assert len(after - before) < len(json.loads((place / "cycle1/selection.json").read_text())["images"])
    boxes = [annotation["image_id"] for annotation in coco["annotations"]]
    (row,) = [
        row
        for row in rows_of(folder / "tables" / "boxes_an_image.csv")
        if (row["strategy"], row["cycle"], row["seed"]) == ("bright-1", "1", "1")
    ]
    mean = sum(image in after - before for image in boxes) / len(after - before)
    assert float(row["chosen_boxes"]) == pytest.approx(mean)
    shown = [row for row in rows_of(folder / "tables" / "top_picks.csv") if row["strategy"] == "random"]
    first = folder / "seed0" / "strategies" / "random" / "cycle1" / "labelled.json"
    bought = set(json.loads(first.read_text())["images"])
    assert {int(row["image"]) for row in shown if row["cycle"] == "0"} <= bought


def test_the_page_says_it_and_ranks_by_boxes_first(folder: Path, tmp_path: Path) -> None:
    text = (folder / "report.html").read_text()
    assert "6 images at the start, 9 boxes a cycle, 2 cycles" in text
    assert text.index("<h3>By labelled boxes") < text.index("<h3>By labelled images")
    assert rows_of(folder / "tables" / "ranking.csv")[0]["labels"] == "boxes"
    CliRunner().invoke(results.command, [str(folder), "--output", str(tmp_path)], catch_exceptions=False)
    page = (tmp_path / "fabricated.md").read_text()
    assert "| strategy | 0 | 9 | 18 |" in page
    assert "2 cycles of 9 boxes" in page
    assert "| strategy | place by boxes |" in page
