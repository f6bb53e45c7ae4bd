"""A budget in boxes: how many images are asked for, which are paid, and what is carried over."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from made_embeddings import made_embeddings

import mgral as api
from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import BudgetConfig, Config, config_yaml, images_in, load_config, resolve_config
from mgral.data.dataset import Dataset, as_dataset
from mgral.errors import InputError
from mgral.selection.query import Choice, Query
from mgral.selection.selecting import choose, select
from mgral.selection.spending import check_boxes, in_images, pay, prices

TEN = {"unit": "boxes", "amount": 10}


def coco(boxes: list[int]) -> dict[str, Any]:
    """Return images 1, 2, ... with so many boxes each."""
    images = [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in range(1, len(boxes) + 1)]
    box = {"category_id": 1, "bbox": [0, 0, 4, 4]}
    annotations = [{**box, "image_id": n} for n, count in enumerate(boxes, start=1) for _ in range(count)]
    numbered = [{**one, "id": n} for n, one in enumerate(annotations, start=1)]
    return {"images": images, "annotations": numbered, "categories": [{"id": 1, "name": "a"}]}


def dataset(boxes: list[int]) -> Dataset:
    return as_dataset(coco(boxes))


def paid(boxes: list[int], chosen: list[int], to_spend: int) -> tuple[list[int], int]:
    images, unspent = pay(dataset(boxes), chosen, to_spend)
    return images.tolist(), unspent


def test_images_are_paid_in_the_order_of_choice() -> None:
    assert paid([3, 5, 2, 4], [4, 2, 1], 9) == ([4, 2], 0)
    assert paid([3, 5, 2, 4], [1, 2, 4], 8) == ([1, 2], 0)
    # A cheap one does not jump the queue.
    assert paid([3, 5, 2, 4], [4, 2, 3], 5) == ([4, 2], -4)


def test_the_image_that_exceeds_the_rest_is_paid_in_full() -> None:
    assert paid([3, 50, 2], [1, 2, 3], 4) == ([1, 2], -49)


def test_what_the_chosen_images_do_not_cost_is_left() -> None:
    assert paid([3, 5, 2], [3, 1], 100) == ([3, 1], 95)


def test_an_image_without_a_box_counts_one() -> None:
    assert prices([0, 1, 7]).tolist() == [1, 1, 7]
    assert paid([0, 0, 0, 9], [1, 2, 3, 4], 2) == ([1, 2], 0)


@pytest.mark.parametrize("to_spend", [0, -7])
def test_an_overdrawn_cycle_pays_nothing(to_spend: int) -> None:
    assert paid([3, 5], [1, 2], to_spend) == ([], to_spend)


counts = st.lists(st.integers(0, 9), min_size=30, max_size=60)


@settings(max_examples=50, deadline=None)
@given(counts, st.integers(1, 12), st.randoms(use_true_random=False))
def test_after_each_cycle_its_share_is_paid_and_less_than_an_image_more(
    boxes: list[int], amount: int, rng: Any
) -> None:
    data, unspent, before = dataset(boxes), 0, 0
    pool = list(range(1, len(boxes) + 1))
    rng.shuffle(pool)
    for cycle in (1, 2, 3):
        images, unspent = pay(data, pool, amount + unspent)
        assert images.tolist() == pool[: len(images)]
        pool = pool[len(images) :]
        before += int(sum(max(1, boxes[image - 1]) for image in images))
        assert before == cycle * amount - unspent
        if pool:
            assert cycle * amount <= before < cycle * amount + 9


def test_images_are_planned_by_the_mean_price_and_a_reserve() -> None:
    config = resolve_config({"budget": TEN})
    # 4, 0 and 3 boxes: a mean price of 8 / 3, so 10 boxes pay 3.75 images.
    data, labelled = dataset([4, 0, 3, *[1] * 40]), np.array([1, 2, 3])
    assert in_images(config, data, labelled).budget == 4
    assert in_images(config, data, labelled, reserve=3).budget == 12
    assert in_images(config, data, labelled, unspent=5, reserve=3).budget == 17
    assert in_images(config, data, labelled, unspent=-10).budget == 1
    assert in_images(config, data, np.array([], dtype=np.int64)).budget == 10
    assert in_images(config, dataset([4, 0, 3, 1, 1]), labelled).budget == 2
    assert in_images(Config(), data, labelled).budget == 40
    with pytest.raises(InputError, match="budget: 10 boxes are no number of images"):
        images_in(config.budget)


BOXES = [4, 0, 3, 1, 1, 5, 0, 2, 6, 1, 3, 0, 2, 8, 1, 1, 2, 1, 4, 1]
LABELLED = [2, 5, 8, 11]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    config = resolve_config({"budget": TEN, "strategies": ["random", "core_set"]})
    (tmp_path / "config.yaml").write_bytes(config_yaml(config))
    write_json(tmp_path / "train.json", coco(BOXES))
    write_json(tmp_path / "labelled.json", {"images": LABELLED, "unspent": -3})
    components = np.random.default_rng(0).normal(size=(len(BOXES), 3)).astype(np.float32)
    write_arrays(tmp_path / "embeddings", made_embeddings(range(1, len(BOXES) + 1), components).arrays())
    return tmp_path


def run(folder: Path, step: str, **options: str) -> Any:
    """Run a step; options that name a file of the folder do so."""
    given = [f"--{name}={folder / value if (folder / value).exists() else value}" for name, value in options.items()]
    arguments = [step, f"--labelled={folder}/labelled.json", f"--dataset={folder}/train.json", *given]
    done = CliRunner().invoke(mgral, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads((folder / options["output"].rpartition("/")[2]).read_text())


def selected(folder: Path, strategy: str) -> Any:
    more = {"embeddings": "embeddings"} if strategy == "core_set" else {}
    output = str(folder / "selection.json")
    return run(folder, "select", config="config.yaml", strategy=strategy, seed="0", cycle="1", output=output, **more)


@pytest.mark.parametrize("strategy", ["random", "core_set"])
def test_a_cycle_of_the_steps_by_hand(folder: Path, strategy: str) -> None:
    selection = selected(folder, strategy)
    # 10 - 3 boxes to spend; images 2, 5, 8 and 11 have 1 (none), 1, 2 and 3: 3 x 7 / 1.75.
    assert (selection["boxes"], len(selection["images"])) == (7, 12)
    after = run(folder, "label", selection="selection.json", output=str(folder / "next.json"))
    bought = [image for image in selection["images"] if image in after["images"]]
    assert bought == selection["images"][: len(bought)]
    spent = [max(1, BOXES[image - 1]) for image in bought]
    assert sum(spent[:-1]) < 7 <= sum(spent)
    assert after == {"images": sorted([*LABELLED, *bought]), "unspent": 7 - sum(spent)}


@pytest.mark.parametrize("strategy", ["random", "core_set"])
def test_choosing_reads_no_label_of_the_pool_and_paying_reads_those_that_are_bought(
    folder: Path, strategy: str
) -> None:
    selected(folder, strategy)
    chosen = (folder / "selection.json").read_bytes()
    paid_for = run(folder, "label", selection="selection.json", output=str(folder / "next.json"))["images"]
    others = [count if image in LABELLED else 9 for image, count in enumerate(BOXES, start=1)]
    write_json(folder / "train.json", coco(others))
    selected(folder, strategy)
    assert (folder / "selection.json").read_bytes() == chosen
    dearer = run(folder, "label", selection="selection.json", output=str(folder / "next.json"))["images"]
    assert len(dearer) < len(paid_for)
    # But what is labelled decides how many are asked for.
    write_json(folder / "train.json", coco([9 if image in LABELLED else 1 for image in range(1, len(BOXES) + 1)]))
    assert len(selected(folder, strategy)["images"]) == 3


def test_the_images_that_are_likely_to_be_paid_are_a_batch_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A strategy that plans its batch as a whole: it ends with what it would take first in a longer batch."""

    def planned(query: Query) -> Choice:
        rows = np.arange(query.budget)[::-1].copy()
        return Choice(rows, rows.astype(float), forward_passes=5)

    monkeypatch.setattr("mgral.config.registry.strategy_function", lambda name: planned)
    data, labelled = dataset([4, 0, 3, *[1] * 40]), np.array([1, 2, 3])
    chosen = select("random", resolve_config({"budget": TEN}), data, labelled, 0)
    # Four images are likely to be paid: the plan of four, and behind it that of twelve without these.
    assert (chosen.images - 4).tolist() == [3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 5, 4]
    assert chosen.forward_passes == 10
    assert chosen.boxes == 10


def test_a_budget_in_images_leaves_no_trace(folder: Path) -> None:
    (folder / "config.yaml").write_text("{budget: {unit: images, amount: 3}, strategies: [random]}")
    write_json(folder / "labelled.json", {"images": LABELLED})
    assert set(selected(folder, "random")) == {"strategy", "images", "scores", "forward_passes"}
    assert set(run(folder, "label", selection="selection.json", output=str(folder / "next.json"))) == {"images"}


def test_an_undecided_strategy_buys_no_first_ids_of_a_pool_that_is_chosen_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def undecided(query: Query) -> Choice:
        return Choice.best(np.zeros(len(query.pool)), query.budget)

    monkeypatch.setattr("mgral.config.registry.strategy_function", lambda name: undecided)
    pool = np.arange(3, 23)
    query = Query(dataset([1] * 22), np.array([1, 2]), pool, Config(budget=20), seed=0, cycle=0)
    assert choose("same", query).reason is None
    drawn = choose("same", query, ordered=True)
    assert sorted(drawn.rows) == list(range(20))
    assert drawn.rows.tolist() != list(range(20))
    assert drawn.reason is not None


def test_damaged_numbers_of_boxes_are_refused(folder: Path) -> None:
    write_json(folder / "labelled.json", {"images": LABELLED, "unspent": 1.5})
    with pytest.raises(InputError, match="`unspent` is no number of boxes; delete the file"):
        selected(folder, "random")


def test_more_boxes_than_the_pool_holds_are_refused() -> None:
    data = dataset([3] * 10)
    config = resolve_config({"budget": TEN, "cycles": 2, "initial": 4, "seeds": (0,)})
    with pytest.raises(ValueError, match=r"2 cycles of 10 boxes are 20, but beside the 4 initial images .* are 18"):
        check_boxes(config, BudgetConfig(unit="boxes", amount=10), data)
    check_boxes(config, BudgetConfig(unit="boxes", amount=9), data)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=6, max_size=12), st.integers(1, 8), st.integers(1, 12))
def test_every_cycle_that_is_not_refused_finds_an_image(boxes: list[int], amount: int, cycles: int) -> None:
    """Also where an image that has more boxes than are paid for in a cycle has taken the last of the pool."""
    budget, data, unspent = BudgetConfig(unit="boxes", amount=amount), dataset(boxes), 0
    config = resolve_config(
        {"budget": budget, "cycles": cycles, "initial": 2, "seeds": (0,), "strategies": ["random"]}
    )
    labelled = api.draw_initial(data.image_ids, 2, seed=0)
    try:
        check_boxes(config, budget, data)
    except ValueError:
        return
    for cycle in range(cycles):
        chosen = api.select("random", config, data, labelled, 0, cycle, unspent=unspent)
        assert chosen.boxes is not None
        images, unspent = pay(data, chosen.images.tolist(), chosen.boxes)
        labelled = api.add_selection(data.image_ids, labelled, images)


def test_a_round_of_a_project_counts_pictures(tmp_path: Path) -> None:
    (tmp_path / "round.yaml").write_text(
        "{seeds: [1], cycles: 1, strategies: [random], budget: {unit: boxes, amount: 5}, "
        "data: {format: project, snapshot: round1/snapshot.json}}"
    )
    with pytest.raises(InputError, match="budget: a round of a project counts pictures, found boxes"):
        load_config(tmp_path / "round.yaml")


def test_it_is_the_same_from_python() -> None:
    config = resolve_config({"budget": TEN, "strategies": ["random"]})
    data = dataset(BOXES)
    chosen = api.select("random", config, data, np.array(LABELLED), seed=0, cycle=1, unspent=-3)
    assert (chosen.boxes, len(chosen.images)) == (7, 12)
