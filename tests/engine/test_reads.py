"""The functions behind the steps read no setting that `STEPS` does not declare, or its change would rerun nothing."""

import numpy as np
import pytest
from click.testing import CliRunner
from run_workflow import TINY
from squares import square_set

from mgral.cli.main import mgral
from mgral.config import Config, load_config, registry
from mgral.engine.steps import STEPS
from mgral.evaluation.evaluate import evaluate_detector
from mgral.method.agent.validated import train_validated_agent
from mgral.method.fidelity.batches import Candidate, draw_candidates
from mgral.method.fidelity.gains import measure_gains
from mgral.method.lut.pseudo_labels import label_pool
from mgral.method.lut.reward import LookupTable, RewardTable
from mgral.method.lut.subsets import plan_subsets
from mgral.method.lut.table import VariantScores, table_arrays
from mgral.method.lut.variants import train_base, train_variants
from mgral.selection.features import embed_images
from mgral.selection.heads import train_head
from mgral.selection.query import Query
from mgral.selection.selecting import select
from mgral.training.detector import train_cycle_detector

CONFIG = Config(
    initial=5,
    budget=2,
    cycles=1,
    detector={"width": 64, "height": 64, "channels": 4},
    training={"batch_size": 2},
    iterations={"detector": 2, "base": 1, "variant": 1},
    lut={"variants": 2, "clusters": 2, "splits": 1, "labels": "pseudo_labels", "start": "warm"},
    reward={"distance": "sliced", "estimator": "kernel"},
    agent={"policy": "lstm", "episodes": 1, "samples": 2},
    evaluation={"score_threshold": 0.0},
    fidelity={"repeats": 2},
    # The one agent is of the experiment's embeddings.
    strategies={
        name: {"embedding": {"object_counts": True}} if "embedding" in info.settings else {}
        for name, info in registry.strategies().items()
    },
)
SINGLE_KEYS = ("embedding", "fidelity", "iterations", "reward", "lut")
"""Sections of which some steps read single keys."""


class Recorder:
    """Settings that note which of them are read, as `section` or `section.key`."""

    def __init__(self, settings, read, prefix=""):
        self._settings, self._read, self._prefix = settings, read, prefix

    def __getattr__(self, name):
        value = getattr(self._settings, name)
        if name in SINGLE_KEYS and not self._prefix:
            return Recorder(value, self._read, f"{name}.")
        if name in type(self._settings).model_fields and name != "strategies":
            self._read.add(f"{self._prefix}{name}")
        if name == "for_strategy":
            return lambda instance: Recorder(value(instance), self._read)
        return value


@pytest.fixture(scope="module")
def read():
    """What each step's function reads, by step."""
    found = {step: set() for step in STEPS}
    of = {step: Recorder(CONFIG, keys) for step, keys in found.items()}
    data, labelled = square_set(), np.arange(10, 15)
    ids, place = data.dataset.image_ids, (0, 0, 0)
    detector, _ = train_cycle_detector(of["detector"], data, labelled, 0)
    evaluate_detector(detector, data, of["evaluate"].evaluation)
    embeddings = embed_images(of["embed"], data, labelled, detector, 0)
    pseudo_labels = label_pool(of["pseudo_labels"], data, labelled, detector)
    plan = plan_subsets(of["subsets"], data.dataset, labelled, embeddings, *place)
    base = train_base(of["base"], data, plan, *place)
    variants = train_variants(of["variant"], data, plan, base, range(3), *place, pseudo_labels=pseudo_labels)
    scores, own = VariantScores.of(variants), of["table"]
    arrays, _ = table_arrays(scores, plan, embeddings, own.embedding, own.reward, 0)
    table = LookupTable((RewardTable.of(arrays, CONFIG.reward),), embeddings, CONFIG.embedding)
    agent, *_ = train_validated_agent(of["agent"], table, ids[5:], 0)
    batches = [Candidate(0, None, ()), Candidate(1, "random", (20, 21))]
    measure_gains(of["gain"], data, data, labelled, batches, 0, 0)
    given = {"images": data.images, "detector": detector, "embeddings": embeddings, "tables": table, "agent": agent}
    pool = np.setdiff1d(ids, labelled)
    draw_candidates(Query(data.dataset, labelled, pool, of["candidates"], 0, 0, **given, groups=()))
    for name, info in registry.strategies().items():
        head = train_head(name, of["head"], data, labelled, 0).head if "head" in info.requires else None
        groups = [ids[5:7].tolist()] if "groups" in info.requires else None
        select(name, of["select"], data.dataset, labelled, 0, **given, head=head, groups=groups)
    return {step: keys for step, keys in found.items() if keys}


READERS = {
    "synthesize": "--output=set",
    "data": "--root=set --train=train.json --test=test.json",
    "input_size": "--dataset=train.json --dataset=test.json --output=size.json",
    "cache": "--root=set --split=train --dataset=train.json --output=train.npy --thumbnails=train.small.npy"
    " --split=test --dataset=test.json --output=test.npy --thumbnails=test.small.npy",
    "groups": "--dataset=train.json --test-dataset=test.json --thumbnails=train.small.npy"
    " --test-thumbnails=test.small.npy --output=groups.json",
    "initial": "--dataset=train.json --seed=0 --output=labelled.json",
    "derive": "--dataset=train.json --labelled=labelled.json --derived=size.json --output=derived.json",
}
"""Options of steps that read settings themselves, each on what those before it wrote."""


def test_steps_that_read_settings_themselves_read_only_those_declared(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(TINY)
    for step, options in READERS.items():
        read = set()
        monkeypatch.setattr(f"mgral.cli.steps.{step}.load_config", lambda path, read=read: Recorder(config, read))
        done = CliRunner().invoke(mgral, [step, f"--config={TINY}", *options.split()], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert read, step
        assert undeclared(step, read) == set(), step


def undeclared(step, keys):
    declared = {*STEPS[step].reads, *STEPS[step].checks}
    return {key for key in keys if key not in declared and key.split(".")[0] not in declared}


def test_only_declared_settings_are_read(read):
    trained = {"detector", "head", "base", "variant", "agent", "gain"}
    assert set(read) == trained | {"evaluate", "embed", "pseudo_labels", "subsets", "table", "select", "candidates"}
    for step, keys in read.items():
        assert undeclared(step, keys) == set(), step


def test_what_is_read_is_noted(read):
    assert read["base"] == {"detector", "training", "iterations.base"}
    assert {"iterations.detector", "iterations.growth", "initial"} <= read["detector"]
    assert read["head"] == read["detector"]
    assert {"budget", "evaluation"} <= read["select"]
