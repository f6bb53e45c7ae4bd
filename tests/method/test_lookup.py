"""The step `lookup`."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral
from mgral.data.dataset import load_dataset
from mgral.method.fidelity.batches import Candidate
from mgral.method.fidelity.lookups import expect_without_table
from mgral.selection.embeddings import load_embeddings
from mgral.selection.object_counts import count_again
from mgral.selection.strategies.roots import greedy_by_roots

IDS = np.arange(20)
LABELLED = [0, 1]
PLACES = np.array([[0, 0], [50, 0], [0, 50], [50, 50]], np.float32)


@pytest.fixture
def experiment(tmp_path):
    """Images 0 to 11 in three clumps, of which the variants had 0.1, 0.3 and 0.2; two batches in the first two."""
    place = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1])
    jitter = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    objects = np.array([0, 100, 25])[place]
    for name, moved in (("cycle", place), ("initial", (place + 1) % 3)):
        embeddings = made_embeddings(IDS, PLACES[moved] + jitter, np.column_stack([objects, objects]), LABELLED)
        write_arrays(tmp_path / f"{name}.safetensors", embeddings.arrays())
    subsets = [[], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    plan = {"labels": "labels", "start": "cold", "reward": [30], "base": []}
    listed = [{"variant": k, "images": images} for k, images in enumerate(subsets)]
    write_json(tmp_path / "subsets.json", {**plan, "subsets": listed})
    maps = [0.05, 0.1, 0.3, 0.2]
    variants = [
        {"variant": k, "images": len(subsets[k]), "map": maps[k], "ap50": 0.5, "class_map": [maps[k]] * 2}
        for k in range(4)
    ]
    write_json(tmp_path / "variants0-3.json", {"variants": variants})
    batches = [[], [12, 13, 14, 15], [16, 17, 18, 19]]
    drawn = [{"batch": k, "source": "random", "images": images} for k, images in enumerate(batches)]
    write_json(tmp_path / "candidates.json", {"batches": drawn})
    write_json(tmp_path / "config.yaml", {})
    images = [{"id": i, "file_name": f"{i}.png", "width": 8, "height": 8} for i in IDS.tolist()]
    boxes = [{"id": i, "image_id": i % 2, "category_id": 1, "bbox": [0, 0, 4, 4]} for i in range(9)]
    # An image of the pool has its labels too, which nothing may count.
    boxes.append({"id": 9, "image_id": 12, "category_id": 2, "bbox": [0, 0, 4, 4]})
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    write_json(tmp_path / "train.json", {"images": images, "annotations": boxes, "categories": categories})
    write_json(tmp_path / "labelled.json", {"images": LABELLED})
    return tmp_path


def looked_up(experiment):
    """Run the step and return its rows."""
    files = {
        "config": "config.yaml",
        "dataset": "train.json",
        "labelled": "labelled.json",
        "candidates": "candidates.json",
        "subsets": "subsets.json",
        "cycle-embeddings": "cycle.safetensors",
        "initial-embeddings": "initial.safetensors",
        "output": "lookups.csv",
    }
    options = [text for name, file in files.items() for text in (f"--{name}", str(experiment / file))]
    mgral(["lookup", *options, "--seed", "0", str(experiment / "variants0-3.json")], standalone_mode=False)
    with (experiment / "lookups.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_that_could_not_be_made_are_left_out_with_a_line(experiment, capsys):
    write_json(experiment / "variants0-3.json", {"reason": "no object is labelled"})
    rows = looked_up(experiment)
    assert {row["labels"] for row in rows} == {"no_table"}
    assert "warning: tables labels, cold are left out: no object is labelled" in capsys.readouterr().err


def test_every_kind_of_look_up_finds_the_variant_whose_images_a_batch_is_like(experiment):
    rows = [row for row in looked_up(experiment) if row["labels"] != "no_table"]
    kinds = {(row["embedding"], row["distance"], row["estimator"]) for row in rows}
    assert len(kinds) == 14
    assert {(row["labels"], row["start"]) for row in rows} == {("labels", "cold")}
    assert len(rows) == 28
    # Both embeddings move a batch with the subset that it is like; of three variants the kernel mixes the others in.
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        found = float(first["looked_up"]), float(second["looked_up"])
        if first["estimator"] == "nearest":
            assert found == (0.1, 0.3)
        assert first["by_prior"] == str(first["estimator"] == "regression")
        if first["estimator"] == "regression":  # three variants tell nothing, so images of a class are counted
            assert found[0] < found[1]
        else:
            assert 0.1 - 1e-9 <= found[0] < 0.2 < found[1] <= 0.3 + 1e-9


def test_beside_them_stands_what_a_batch_is_expected_to_bring(experiment):
    """Nine objects of the first class are labelled, in two images; four of a batch have 0 or 100 of each class."""
    found = {
        (row["embedding"], row["estimator"], row["batch"]): float(row["looked_up"])
        for row in looked_up(experiment)
        if row["labels"] == "no_table"
    }
    first, second = (
        {"total_objects": 0, "roots_of_objects": 3, "images_of_classes": np.log(3)},
        {"total_objects": 800, "roots_of_objects": 409**0.5 + 20, "images_of_classes": np.log(7) + np.log(5)},
    )
    assert found == {
        (embedding, reward, batch): pytest.approx(value)
        for embedding in ("cycle", "initial")
        for batch, values in (("1", first), ("2", second))
        for reward, value in values.items()
    }


def test_the_initial_embeddings_count_by_the_labels_of_the_cycle(experiment):
    """As the agent and the choice of the cycle do: nine boxes of the first class in two images."""
    path = experiment / "initial.safetensors"
    before = load_embeddings(path)
    path.unlink()
    write_arrays(path, replace(before, counted=np.array([0])).arrays())
    counted = count_again(load_embeddings(path), load_dataset(experiment / "train.json"), np.array(LABELLED), 0)
    totals = {
        row["batch"]: float(row["looked_up"])
        for row in looked_up(experiment)
        if (row["embedding"], row["estimator"]) == ("initial", "total_objects")
    }
    batches = {"1": [12, 13, 14, 15], "2": [16, 17, 18, 19]}
    assert totals == {k: pytest.approx(counted.counts_of(images).sum()) for k, images in batches.items()}
    assert totals["2"] != pytest.approx(before.counts_of(batches["2"]).sum())


def test_rewards_without_a_table_are_what_the_strategies_choose_by():
    """A batch that is chosen by roots has more of them than others, and that of the most objects more objects."""
    rng = np.random.default_rng(0)
    counts = rng.gamma(0.5, [[8, 1, 1]], size=(40, 3)).astype(np.float32)
    embeddings = made_embeddings(np.arange(40), np.zeros((40, 1)), counts)
    labelled = np.array([[30, 1, 0], [0, 1, 0]])
    by_roots = greedy_by_roots(labelled.sum(axis=0), counts.astype(float), np.ones(40), 5).rows
    most = np.argsort(-counts.sum(axis=1))[:5]
    batches = [(), by_roots, most, *(rng.permutation(40)[:5] for _ in range(20))]
    candidates = [Candidate(k, None, tuple(map(int, images))) for k, images in enumerate(batches)]
    found = expect_without_table(candidates, labelled, {"cycle": embeddings})
    best = {kind.estimator: int(values.argmax()) for kind, values in found.items()}
    shown = np.minimum(counts, 1)
    known = (labelled > 0).sum(axis=0)
    images = [np.log1p(known + shown[list(one.images)].sum(axis=0)).sum() for one in candidates[1:]]
    assert best == {"roots_of_objects": 0, "total_objects": 1, "images_of_classes": int(np.argmax(images))}
