"""Where tables cannot be made: each step on the way to an agent passes the reason on, to a random choice."""

import json

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings

from mgral.artefacts.files import map_arrays, read_arrays, read_csv, write_arrays, write_json, write_reason
from mgral.cli.main import mgral
from mgral.data.groups import Groups
from mgral.errors import SparseError
from mgral.method.agent.network import build_agent

IDS = np.arange(12)
REASON = "no object is found"


@pytest.fixture
def experiment(tmp_path):
    """A pool of 8 images, its embeddings, and one of two tables that could not be made."""
    images = [{"id": int(i), "file_name": f"{i}.png", "width": 8, "height": 8} for i in IDS]
    write_json(tmp_path / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    write_json(tmp_path / "labelled.json", {"images": IDS[:4].tolist()})
    write_json(tmp_path / "config.yaml", {"budget": 3, "strategies": ["mgral", "random"]})
    rng = np.random.default_rng(0)
    embeddings = made_embeddings(IDS, rng.normal(size=(12, 3)), rng.poisson(2, size=(12, 1)), counted=IDS[:4])
    write_arrays(tmp_path / "embeddings.safetensors", embeddings.arrays())
    return tmp_path


def step(folder, name, *arguments):
    files = [f"--config={folder}/config.yaml", f"--embeddings={folder}/embeddings.safetensors", "--seed=0"]
    mgral([name, *files, *arguments], standalone_mode=False)


def select(folder, *names):
    files = [f"--{name}={folder}/{name}.safetensors" for name in names] + [f"--groups={folder}/groups.json"]
    write_json(folder / "groups.json", Groups((), (), 0, 0).as_json())
    known = [f"--dataset={folder}/train.json", f"--labelled={folder}/labelled.json", "--strategy=mgral", "--cycle=0"]
    step(folder, "select", *known, *files, f"--output={folder}/selection.json")
    return json.loads((folder / "selection.json").read_text())


def test_a_file_of_a_reason_raises_it_when_it_is_read(tmp_path):
    write_reason(tmp_path / "agent.safetensors", REASON)
    for read in (read_arrays, map_arrays):
        with pytest.raises(SparseError, match=REASON):
            read(tmp_path / "agent.safetensors")


@pytest.mark.parametrize("where", ["subsets", "variants"])
def test_a_table_without_variants_says_why_and_has_no_row(experiment, where):
    plan = {"labels": "labels", "start": "warm", "reward": [0], "base": [1]}
    plan["subsets"] = [{"variant": k, "images": [4 + k] if k else []} for k in range(3)]
    write_json(experiment / "subsets.json", {"reason": REASON} if where == "subsets" else plan)
    write_json(experiment / "v.json", {"reason": REASON})
    written = [f"--output={experiment}/table.safetensors", f"--leave-one-out={experiment}/left_out.csv"]
    step(experiment, "table", f"--subsets={experiment}/subsets.json", *written, f"{experiment}/v.json")
    with pytest.raises(SparseError, match=REASON):
        map_arrays(experiment / "table.safetensors")
    assert (experiment / "left_out.csv").read_text() == "variant,baseline,measured,nearest,kernel,regression\n"


def test_without_a_table_there_is_no_agent_and_mgral_chooses_at_random(experiment):
    write_reason(experiment / "table.safetensors", REASON)
    known = [f"--dataset={experiment}/train.json", f"--labelled={experiment}/labelled.json", "--cycle=0"]
    files = [f"--table={experiment}/table.safetensors", f"--output={experiment}/agent.safetensors"]
    logs = [f"--log-csv={experiment}/agent.csv", f"--summary={experiment}/agent.json"]
    step(experiment, "agent", "--strategy=mgral", *known, *files, *logs)
    assert json.loads((experiment / "agent.json").read_text()) == {"reason": REASON}
    assert read_csv(experiment / "agent.csv") == []
    chosen = select(experiment, "table", "agent")
    assert chosen["reason"] == REASON
    assert len(set(chosen["images"])) == 3
    assert set(chosen["images"]) <= set(IDS[4:].tolist())


def test_the_reason_is_also_that_agents_are_not_validated(experiment):
    own = {"mgral": {"type": "paper", "embedding": {"object_counts": True}}}
    write_json(experiment / "config.yaml", {"budget": 3, "strategies": own})
    agent = build_agent(np.ones((8, 4), np.float32), 4, 8, torch.Generator().manual_seed(0))
    write_arrays(experiment / "agent.safetensors", agent.arrays())
    assert "reason" not in select(experiment, "agent")
    agent.validated.fill_(False)
    write_arrays(experiment / "agent.safetensors", agent.arrays())
    assert "permutation test" in select(experiment, "agent")["reason"]
