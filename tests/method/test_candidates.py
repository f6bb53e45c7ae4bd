"""The step `candidates`."""

import json

import numpy as np
import pytest
from made_embeddings import made_embeddings

from mgral.artefacts.files import write_arrays, write_json
from mgral.cli.main import mgral
from mgral.errors import InputError
from mgral.method.fidelity.batches import load_candidates

KINDS, OF_A_KIND, LABELLED = 5, 20, 10


@pytest.fixture
def experiment(tmp_path):
    """100 images in five far-apart clumps; image i is of kind i % 5."""
    ids = np.arange(KINDS * OF_A_KIND) + 7
    images = [{"id": int(i), "file_name": f"{i}.png", "width": 8, "height": 8} for i in ids]
    write_json(tmp_path / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    write_json(tmp_path / "labelled.json", {"images": ids[:LABELLED].tolist()})
    config = {"budget": 12, "lut": {"clusters": KINDS}, "fidelity": {"batches": 8}}
    write_json(tmp_path / "config.yaml", config)
    places = 100 * np.eye(KINDS, dtype=np.float32)[(ids - 7) % KINDS]
    vectors = places + np.random.default_rng(0).normal(size=places.shape).astype(np.float32)
    write_arrays(tmp_path / "embeddings.safetensors", made_embeddings(ids, vectors).arrays())
    return tmp_path


def draw(folder, seed=0):
    names = {"config": "config.yaml", "dataset": "train.json", "labelled": "labelled.json"}
    files = names | {"embeddings": "embeddings.safetensors", "output": "candidates.json"}
    options = [text for name, file in files.items() for text in (f"--{name}", str(folder / file))]
    mgral(["candidates", *options, "--seed", str(seed), "--cycle", "1"], standalone_mode=False)
    return load_candidates(folder / "candidates.json")


def test_batches_of_the_pool_go_from_one_kind_to_all(experiment):
    empty, *batches = draw(experiment)
    assert empty.images == ()
    assert len(batches) == 8
    for one in batches:
        assert len(set(one.images)) == 12
        assert min(one.images) >= 7 + LABELLED
    kinds = [len({(image - 7) % KINDS for image in one.images}) for one in batches]
    assert kinds[0] <= 2
    assert kinds[-1] >= 4
    assert [one.concentration for one in batches] == sorted(one.concentration for one in batches)


def test_a_seed_draws_the_same_batches_again_and_another_others(experiment):
    assert draw(experiment) == draw(experiment)
    assert draw(experiment, seed=1) != draw(experiment)


def test_a_file_of_something_else_is_refused(experiment):
    draw(experiment)
    content = json.loads((experiment / "candidates.json").read_text())
    write_json(experiment / "other.json", {"batches": content["batches"][1:]})
    with pytest.raises(InputError, match="does not hold an empty batch 0"):
        load_candidates(experiment / "other.json")
    with pytest.raises(InputError, match="run the step `candidates` again"):
        load_candidates(experiment / "train.json")
