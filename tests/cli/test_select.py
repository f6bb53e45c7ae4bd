"""Strategies and the step `select`."""

import json
import subprocess
import sys

import click
import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings

from mgral.artefacts.files import read_arrays, write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import EmbeddingConfig
from mgral.errors import InputError
from mgral.method.agent.network import build_agent, load_agent
from mgral.selection.embeddings import load_embeddings, standardise
from mgral.selection.query import Choice, highest

IDS = np.arange(40) * 2 + 5


@pytest.fixture
def experiment(tmp_path):
    images = [{"id": int(i), "file_name": f"{i}.png", "width": 8, "height": 8} for i in IDS[::-1]]
    write_json(tmp_path / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    write_json(tmp_path / "labelled.json", {"images": IDS[:4].tolist()})
    write_json(tmp_path / "config.yaml", _config(object_counts=True))
    rng = np.random.default_rng(0)
    embeddings = made_embeddings(IDS, rng.normal(size=(40, 3)), rng.poisson(2, size=(40, 2)), counted=IDS[:4])
    path = tmp_path / "embeddings.safetensors"
    write_arrays(path, embeddings.arrays())
    vectors = load_embeddings(path).features_of(IDS, EmbeddingConfig()).vectors
    agent = build_agent(vectors, 4, 8, torch.Generator().manual_seed(0))
    write_arrays(tmp_path / "agent.safetensors", agent.arrays())
    return tmp_path


def _config(object_counts):
    """An experiment with the paper's agent, which needs no table to choose."""
    others = {"mgral": {}, "random": {}, "entropy_anchors": {}}
    return {"budget": 6, "strategies": {**others, "paper": {"embedding": {"object_counts": object_counts}}}}


def _arguments(folder, strategy, *extra, seed=0, cycle=0):
    files = [f"--config={folder}/config.yaml", f"--dataset={folder}/train.json", f"--labelled={folder}/labelled.json"]
    draws = [f"--seed={seed}", f"--cycle={cycle}", f"--output={folder}/selection.json"]
    return ["select", f"--strategy={strategy}", *files, *draws, *extra]


def _select(folder, strategy, *extra, **draws):
    mgral(_arguments(folder, strategy, *extra, **draws), standalone_mode=False)
    return json.loads((folder / "selection.json").read_text())


@pytest.mark.parametrize(
    ("own", "said"),
    [({}, "(see near_copies)"), ({"pattern": "^(.)"}, "of the video of a chosen one (see near_copies.")],
)
def test_a_batch_cut_by_near_copies_names_the_setting_that_cut_it(experiment, capsys, own, said):
    write_json(experiment / "config.yaml", {**_config(object_counts=True), "near_copies": own})
    groups = {"groups": [IDS[4:].tolist()], "pairs": [], "test_images": 0, "flat_test_images": 0}
    write_json(experiment / "groups.json", groups)
    assert len(_select(experiment, "random", f"--groups={experiment}/groups.json")["images"]) == 1
    warned = capsys.readouterr().err
    assert "1 image is chosen, not 6" in warned
    assert said in warned
    assert ("video_names" in warned) == bool(own)


def test_random_takes_the_budget_from_the_pool_anew_for_every_seed_and_cycle(experiment):
    found = [_select(experiment, "random", seed=s, cycle=c) for s in (0, 1) for c in (0, 1)]
    for selection in found:
        assert selection["strategy"] == "random"
        assert len(set(selection["images"])) == 6
        assert set(selection["images"]) <= set(IDS[4:].tolist())
        assert selection["scores"] == sorted(selection["scores"], reverse=True)
    assert len({tuple(selection["images"]) for selection in found}) == 4
    assert _select(experiment, "random") == found[0]


def test_random_favours_no_image(experiment):
    counts = np.zeros(200)
    for seed in range(120):
        for image in _select(experiment, "random", seed=seed)["images"]:
            counts[image] += 1
    pool = counts[IDS[4:]]
    assert pool.sum() == 720
    # Binomial with mean 20 and standard deviation 4.1.
    assert np.abs(pool - 20).max() < 17


def test_the_papers_agent_chooses_its_best_in_ascending_order_of_ids(experiment):
    options = [f"--{name}={experiment}/{name}.safetensors" for name in ("agent", "embeddings")]
    selection = _select(experiment, "paper", *options)
    embeddings = load_embeddings(experiment / "embeddings.safetensors")
    vectors = np.concatenate([embeddings.components, standardise(embeddings.counts)], axis=1)
    scores = load_agent(experiment / "agent.safetensors").score_pool(vectors[4:])
    assert selection["images"] == IDS[4:][np.argsort(-scores)[:6]].tolist()
    assert selection["scores"] == pytest.approx(np.sort(scores)[::-1][:6].tolist())
    content = (experiment / "selection.json").read_bytes()
    _select(experiment, "paper", *options)
    assert (experiment / "selection.json").read_bytes() == content


def test_an_agent_of_other_dimensions_than_the_embeddings_is_an_error(experiment):
    write_json(experiment / "config.yaml", _config(object_counts=False))
    options = [f"--{name}={experiment}/{name}.safetensors" for name in ("agent", "embeddings")]
    with pytest.raises(InputError, match=r"the agent was trained on 5 dimensions, but .* has 3"):
        _select(experiment, "paper", *options)


def test_it_chooses_at_random_where_the_agent_is_not_believed(experiment):
    agent = read_arrays(experiment / "agent.safetensors")
    write_arrays(experiment / "agent.safetensors", agent | {"validated": np.array([False])})
    options = [f"--{name}={experiment}/{name}.safetensors" for name in ("agent", "embeddings")]
    found = [_select(experiment, "paper", *options, seed=s, cycle=c)["images"] for s in (0, 1) for c in (0, 1)]
    assert len(set(map(tuple, found))) == 4
    assert len(set().union(*found)) > 12
    write_arrays(
        experiment / "agent.safetensors", agent | {"validated": np.array([False]), "mean": agent["mean"] + 1}
    )
    assert _select(experiment, "paper", *options)["images"] == found[0]


def test_of_equal_scores_not_the_first_are_chosen():
    """Their ids would often be neighbours, such as frames of one video."""
    chosen = highest(np.array([1.0, 3.0, 3.0, 0.0, 3.0]), 4).tolist()
    assert (set(chosen[:3]), chosen[3]) == ({1, 2, 4}, 0)
    scores = np.where(np.arange(400) == 7, 1.0, 0.0)
    first, *others = highest(scores, 41).tolist()
    assert first == 7
    assert 120 < np.mean(others) < 280  # 200, standard deviation 18
    assert Choice.best(scores, 41).tied == 40
    assert Choice.best(scores, 1).tied == 0
    assert Choice.best(scores, 400).tied == 0


def test_an_option_that_the_strategy_needs_is_asked_for(experiment):
    with pytest.raises(click.UsageError, match="mgral needs --table and --agent"):
        _select(experiment, "mgral", f"--embeddings={experiment}/embeddings.safetensors")
    with pytest.raises(click.UsageError, match="entropy_anchors needs --images and --detector"):
        _select(experiment, "entropy_anchors")


def test_a_budget_above_the_pool_is_an_error_and_nothing_is_written(experiment):
    write_json(experiment / "config.yaml", {"budget": 37})
    with pytest.raises(InputError, match="budget: 37 images are to be chosen, but the pool holds 36"):
        _select(experiment, "random")
    assert not (experiment / "selection.json").exists()


def test_random_selection_does_not_import_torch(experiment):
    program = "import sys; from mgral.cli.main import mgral; mgral(sys.argv[1:], standalone_mode=False); "
    program += "sys.exit('torch' in sys.modules)"
    finished = subprocess.run([sys.executable, "-c", program, *_arguments(experiment, "random")], check=False)
    assert finished.returncode == 0


def test_ids_that_are_texts_are_written_back(experiment):
    content = json.loads((experiment / "train.json").read_text())
    for image in content["images"]:
        image["source_id"] = f"name-{image['id']}"
    write_json(experiment / "train.json", content)
    selection = _select(experiment, "random")
    assert selection["source_ids"] == [f"name-{one}" for one in selection["images"]]
