"""The step `lookup`."""

import csv

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral

IDS = np.arange(20)
PLACES = np.array([[0, 0], [50, 0], [0, 50], [50, 50]], np.float32)


@pytest.fixture
def experiment(tmp_path):
    """Images 0 to 11 in three clumps, of which the variants had 0.1, 0.3 and 0.2; two batches in the first two."""
    place = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1])
    jitter = np.random.default_rng(0).normal(size=(20, 2)).astype(np.float32)
    objects = np.array([0, 100, 25])[place]
    for name, moved in (("cycle", place), ("initial", (place + 1) % 3)):
        embeddings = made_embeddings(IDS, PLACES[moved] + jitter, np.column_stack([objects, objects]))
        write_arrays(tmp_path / f"{name}.safetensors", embeddings.arrays())
    subsets = [[], [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    plan = {"labels": "labels", "start": "cold", "reward": [30], "base": [31]}
    listed = [{"variant": k, "images": images} for k, images in enumerate(subsets)]
    write_json(tmp_path / "subsets.json", {**plan, "subsets": listed})
    maps = [0.05, 0.1, 0.3, 0.2]
    variants = [
        {"variant": k, "images": len(subsets[k]), "map": maps[k], "ap50": 0.5, "class_map": [maps[k]] * 2}
        for k in range(4)
    ]
    write_json(tmp_path / "variants0-3.json", {"variants": variants})
    batches = [[], [12, 13, 14, 15], [16, 17, 18, 19]]
    drawn = [{"batch": k, "concentration": 1.0, "images": images} for k, images in enumerate(batches)]
    write_json(tmp_path / "candidates.json", {"batches": drawn})
    write_json(tmp_path / "config.yaml", {})
    return tmp_path


def test_every_kind_of_look_up_finds_the_variant_whose_images_a_batch_is_like(experiment):
    files = {
        "config": "config.yaml",
        "candidates": "candidates.json",
        "subsets": "subsets.json",
        "cycle-embeddings": "cycle.safetensors",
        "initial-embeddings": "initial.safetensors",
        "output": "lookups.csv",
    }
    options = [text for name, file in files.items() for text in (f"--{name}", str(experiment / file))]
    mgral(["lookup", *options, "--seed", "0", str(experiment / "variants0-3.json")], standalone_mode=False)
    with (experiment / "lookups.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = {(row["embedding"], row["distance"], row["estimator"]) for row in rows}
    assert len(kinds) == 14
    assert {(row["labels"], row["start"]) for row in rows} == {("labels", "cold")}
    assert len(rows) == 28
    # Both embeddings move a batch with the subset that it is like; of three variants the kernel mixes the others in.
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        found = float(first["looked_up"]), float(second["looked_up"])
        if first["estimator"] == "nearest":
            assert found == (0.1, 0.3)
        assert 0.1 - 1e-9 <= found[0] < 0.2 < found[1] <= 0.3 + 1e-9
