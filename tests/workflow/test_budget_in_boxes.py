"""An experiment whose budget is in boxes, on the real steps."""

import pytest
from run_workflow import TINY, snakemake
from slow import slow

from mgral.artefacts.files import read_csv, read_json

AMOUNT, STRATEGIES = 12, ("mgral", "random")


@slow
@pytest.mark.timeout(900)
def test_every_strategy_pays_the_same_boxes_in_a_tiny_experiment(tmp_path):
    change = (f"budget={{unit: boxes, amount: {AMOUNT}}}", f"strategies=[{', '.join(STRATEGIES)}]")
    change += ("lut={labels: pseudo_labels}",)  # whose subsets are as large as a batch
    done = snakemake(tmp_path, "--cores", "2", "--configfile", TINY, "--config", *change)
    assert done.returncode == 0, done.stdout[-3000:]
    folder = tmp_path / "results" / "tiny"
    truth = read_json(folder / "dataset" / "train.json")
    held = [annotation["image_id"] for annotation in truth["annotations"]]
    initial = read_json(folder / "seed0" / "initial" / "cycle0" / "labelled.json")
    for strategy in STRATEGIES:
        place, labelled, paid = folder / "seed0" / "strategies" / strategy, initial["images"], 0
        for cycle in (1, 2):
            selection = read_json(place / f"cycle{cycle - 1}" / "selection.json")
            after = read_json(place / f"cycle{cycle}" / "labelled.json")
            bought = [image for image in selection["images"] if image in after["images"]]
            assert bought == selection["images"][: len(bought)]
            assert sorted([*labelled, *bought]) == after["images"]
            paid += sum(max(1, held.count(image)) for image in bought)
            assert selection["boxes"] <= AMOUNT
            assert after["unspent"] == cycle * AMOUNT - paid <= 0
            labelled = after["images"]
    assert {row["labels"] for row in read_csv(folder / "tables" / "ranking.csv")} == {"images", "boxes"}
    sizes = read_json(folder / "seed0/initial/cycle0/tables/default/split0/subsets.json")["subsets"]
    # Three times as many as 12 boxes pay at the 11 boxes of the 6 labelled images, but no more than half of the 12
    # unlabelled images that measure no reward.
    assert {len(one["images"]) for one in sizes[1:]} == {6}
