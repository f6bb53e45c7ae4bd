"""The agent: its network against a plain loop, what it learns, and the step."""

import json

import numpy as np
import pytest
import torch
from made_embeddings import made_embeddings
from stopping import StoppedError, stop_after

from mgral.artefacts.files import read_arrays, read_csv, write_arrays, write_json
from mgral.cli.main import mgral
from mgral.config import AgentConfig, RewardConfig
from mgral.errors import InputError, StepError
from mgral.method.agent.episodes import Episode, uniform_batches
from mgral.method.agent.network import build_agent, load_agent
from mgral.method.agent.training import train_agent
from mgral.method.agent.validated import compare_with_random
from mgral.method.lut.by_distance import ByDistance, SubsetDistance
from mgral.method.lut.estimators import median_distances
from mgral.method.lut.reward import MeanReward, RewardTable
from mgral.method.lut.wasserstein import SlicedDistance, draw_projections, project_and_sort
from mgral.selection.embeddings import ImageFeatures
from mgral.selection.query import highest
from mgral.training.checkpoint import SECONDS_VARIABLE, Checkpoint

BUDGET = 12
SLICED = {"distance": "sliced", "estimator": "kernel", "projections": 32}


def _pool(count=100, dimensions=4):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, dimensions)) * 4
    clusters = rng.integers(0, 4, count)
    return (centres[clusters] + rng.normal(size=(count, dimensions))).astype(np.float32), clusters


def _table_arrays(vectors, clusters):
    """A table in which the images of cluster 2 are worth more, in proportion to their number."""
    rng = np.random.default_rng(1)
    of = [np.flatnonzero(clusters == c) for c in range(4)]
    mixtures = [np.concatenate([of[a][:6], of[b][6:12]]) for a in range(4) for b in range(4)]
    values = np.array([0.2 + 0.05 * (clusters[rows] == 2).mean() for rows in mixtures])
    projections = draw_projections(vectors.shape[1], 32, rng)
    presorted = project_and_sort(vectors[np.stack(mixtures)], projections)
    pairwise = SlicedDistance(projections, presorted)(vectors[np.stack(mixtures)])[..., None]
    return {
        "map": values,
        "values": values[:, None],
        "baseline_map": np.array([0.19]),
        "embeddings": vectors[np.stack(mixtures)],
        "projections": projections,
        "sorted": presorted,
        "kernel_widths": median_distances(pairwise),
    }


def _reward_table(arrays, estimator="kernel"):
    sliced = SlicedDistance(arrays["projections"], arrays["sorted"])
    distance = SubsetDistance(arrays["embeddings"], sliced, "sliced")
    lookup = ByDistance(distance, arrays["values"], estimator, arrays["kernel_widths"])
    return RewardTable(arrays["embeddings"], None, None, arrays["map"], 0.19, lookup)


def _features(vectors):
    """Return the features of images without any object."""
    return ImageFeatures(vectors, np.zeros((*vectors.shape[:-1], 1), np.float32))


def _table(arrays, vectors, estimator="kernel", device="cpu"):
    return _reward_table(arrays, estimator).over(_features(vectors), device)


def _agent(vectors, window=7, hidden=6, seed=0):
    return build_agent(vectors, hidden, window, torch.Generator().manual_seed(seed))


def _compared(agent, vectors, table):
    chosen = highest(agent.score_pool(vectors), BUDGET)
    return compare_with_random(chosen, table, len(vectors), np.random.default_rng(0))


def test_scores_are_those_of_a_plain_lstm_that_restarts_with_every_window():
    vectors, _ = _pool(17)
    agent = _agent(vectors)
    with torch.no_grad():
        standardised = torch.from_numpy((vectors - vectors.mean(0)) / vectors.std(0))
        expected = []
        for row, image in enumerate(standardised):
            if row % 7 == 0:
                state, decision = None, torch.zeros(1)
            state = agent.cell(torch.cat([image, decision])[None], state)
            score = agent.score(state[0])[0]
            decision = torch.sigmoid(score)
            expected.append(float(score))
        found = agent(torch.from_numpy(vectors))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_previous_decision_reaches_the_next_score_and_no_other_window():
    vectors, _ = _pool(14)
    agent = _agent(vectors)
    changed = vectors.copy()
    changed[2] += 3
    difference = np.abs(agent.score_pool(changed) - agent.score_pool(vectors)) > 1e-7
    assert difference.tolist() == [False] * 2 + [True] * 5 + [False] * 7


def test_chunks_and_padding_do_not_change_the_scores(monkeypatch):
    vectors, _ = _pool(45)
    agent = _agent(vectors)
    whole = agent.score_pool(vectors)
    monkeypatch.setattr("mgral.method.agent.network.CHUNK_IMAGES", 14)
    np.testing.assert_allclose(agent.score_pool(vectors), whole, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(agent.score_pool(vectors[:40])[:35], whole[:35], rtol=1e-5, atol=1e-6)


def test_an_embedding_dimension_without_spread_is_no_division_by_zero():
    vectors, _ = _pool(20)
    vectors[:, 1] = 5
    assert np.isfinite(_agent(vectors).score_pool(vectors)).all()


def test_an_agent_is_read_as_it_was_written(tmp_path):
    vectors, _ = _pool(20)
    agent = _agent(vectors)
    path = tmp_path / "agent.safetensors"
    write_arrays(path, agent.arrays())
    np.testing.assert_array_equal(load_agent(path).score_pool(vectors), agent.score_pool(vectors))
    write_arrays(path, agent.arrays() | {"score.2.bias": np.array([np.nan], dtype=np.float32)})
    with pytest.raises(InputError, match=r"agent\.safetensors contains a weight that is not finite"):
        load_agent(path)
    write_arrays(path, {"mean": vectors[0]})
    with pytest.raises(InputError, match=r"agent\.safetensors is not an agent"):
        load_agent(path)


@pytest.mark.parametrize("baseline", ["moving_average", "previous"])
@pytest.mark.parametrize("estimator", ["kernel", "nearest"])
def test_the_agent_learns_which_cluster_is_worth_more(baseline, estimator):
    vectors, clusters = _pool()
    arrays = _table_arrays(vectors, clusters)
    table = _table(arrays, vectors, estimator)
    agent, log = train_agent(
        vectors,
        table,
        AgentConfig(baseline=baseline, episodes=80, samples=64, learning_rate=3e-3, hidden=64),
        BUDGET,
        0,
        0,
    )
    selected, mean, deviation = _compared(agent, vectors, table)
    # The nearest variant's value is a step function: the best variant's is the most there is, 2.9 deviations up.
    required = min(3.0, (arrays["values"].max() - mean) / deviation)
    assert (selected - mean) / deviation >= required - 1e-9
    assert log[-1].entropy < log[0].entropy
    untrained = _agent(vectors, window=32, hidden=64)
    selected, mean, deviation = _compared(untrained, vectors, table)
    assert selected < mean + 3 * deviation


def test_batches_are_looked_up_as_many_at_a_time_as_memory_allows(monkeypatch):
    vectors, clusters = _pool()
    table = _reward_table(_table_arrays(vectors, clusters))
    reward = table.over(_features(vectors))
    batches = uniform_batches(len(vectors), BUDGET, 7, np.random.default_rng(3))
    whole = reward.lookup(batches)
    np.testing.assert_allclose(whole, table.lookup(_features(vectors[batches])), rtol=1e-12)
    np.testing.assert_allclose([reward.lookup(batch[None])[0] for batch in batches], whole, rtol=1e-6)
    monkeypatch.setattr("mgral.method.lut.reward.LOOKED_UP_IMAGES", 3 * BUDGET)
    np.testing.assert_allclose(reward.lookup(batches), whole, rtol=1e-6)


def test_tables_of_several_splits_are_asked_for_their_mean():
    vectors, clusters = _pool()
    arrays = _table_arrays(vectors, clusters)
    batches = uniform_batches(len(vectors), BUDGET, 7, np.random.default_rng(3))
    values = arrays["values"]
    rewards = [_table({**arrays, "values": of_split}, vectors) for of_split in (values, values[::-1] * 3)]
    one, other = (reward.lookup(batches) for reward in rewards)
    assert abs(one - other).max() > 0.1
    np.testing.assert_allclose(MeanReward(rewards).lookup(batches), (one + other) / 2, rtol=1e-12)
    assert MeanReward([_Recorder(vectors), *rewards]).baseline_map == pytest.approx((0.5 + 0.19 + 0.19) / 3)


def test_uniform_batches_hold_no_image_twice():
    batches = uniform_batches(20, 15, 50, np.random.default_rng(0))
    assert all(len(set(batch)) == 15 for batch in batches.tolist())
    assert set(batches.ravel().tolist()) == set(range(20))


class _Recorder:
    """A reward that is a known function of the batch."""

    baseline_map = 0.5

    def __init__(self, vectors, scale=1.0):
        self.worth = scale * vectors[:, 0]

    def lookup(self, batches):
        return self.worth[batches].mean(axis=1).astype(np.float64)


def test_references_follow_the_configuration():
    vectors, _ = _pool()
    for baseline, decay in (("previous", 0.9), ("moving_average", 0.75)):
        config = AgentConfig(episodes=4, baseline=baseline, baseline_decay=decay)
        _, log = train_agent(vectors, _Recorder(vectors), config, BUDGET, 0, 0)
        expected = [log[0].random_reward]
        for episode in log[:-1]:
            kept = 0.0 if baseline == "previous" else decay
            expected.append(kept * expected[-1] + (1 - kept) * episode.reward)
        np.testing.assert_allclose([episode.baseline for episode in log], expected)


def test_best_so_far_never_falls_and_random_batches_do_not_depend_on_the_agent():
    vectors, _ = _pool()
    _, log = train_agent(vectors, _Recorder(vectors), AgentConfig(episodes=6), BUDGET, 0, 0)
    _, other = train_agent(vectors, _Recorder(vectors), AgentConfig(episodes=6, hidden=3), BUDGET, 0, 0)
    for column in ("best", "random_best"):
        assert (np.diff([getattr(episode, column) for episode in log]) >= 0).all()
    assert [e.random_reward for e in log] == [e.random_reward for e in other]
    assert [e.reward for e in log] != [e.reward for e in other]


def test_a_loss_that_is_not_finite_is_an_error_naming_the_episode():
    vectors, _ = _pool()
    with pytest.raises(StepError, match="agent: the loss is nan in episode 1"):
        train_agent(vectors, _Recorder(vectors, float("nan")), AgentConfig(episodes=3), BUDGET, 0, 0)


@pytest.mark.parametrize("baseline", ["moving_average", "previous"])
def test_a_stopped_training_goes_on_to_the_same_bits(baseline, tmp_path, monkeypatch):
    vectors, clusters = _pool()
    table = _table(_table_arrays(vectors, clusters), vectors)
    config = AgentConfig(episodes=8, baseline=baseline)
    agent, log = train_agent(vectors, table, config, BUDGET, 0, 0)
    for stop in (1, 4, 7):
        path = tmp_path / f"{stop}.checkpoint"
        with stop_after(stop, monkeypatch), pytest.raises(StoppedError):
            train_agent(vectors, table, config, BUDGET, 0, 0, Checkpoint(path, "job", every=0))
        resumed, other = train_agent(vectors, table, config, BUDGET, 0, 0, Checkpoint(path, "job"))
        assert other == log
        for name, array in agent.arrays().items():
            np.testing.assert_array_equal(resumed.arrays()[name], array)


@pytest.fixture
def experiment(tmp_path):
    vectors, clusters = _pool()
    ids = np.arange(len(vectors)) + 1
    images = [{"id": int(i), "file_name": f"{i}.png", "width": 8, "height": 8} for i in ids]
    write_json(tmp_path / "train.json", {"images": images, "annotations": [], "categories": [{"id": 1, "name": "a"}]})
    write_json(tmp_path / "labelled.json", {"images": [1, 2, 3, 4]})
    _configure(tmp_path, episodes=5)
    _write_embeddings(tmp_path, vectors)
    write_arrays(tmp_path / "table.safetensors", _table_arrays(vectors, clusters))
    return tmp_path


def _configure(folder, episodes):
    config = {
        "budget": BUDGET,
        "strategies": ["mgral"],
        "agent": {"policy": "lstm", "episodes": episodes},
        "embedding": {"object_counts": False},
    }
    write_json(folder / "config.yaml", config | {"reward": SLICED})


def _write_embeddings(folder, vectors):
    embeddings = made_embeddings(np.arange(len(vectors)) + 1, vectors, counted=[1, 2, 3, 4])
    write_arrays(folder / "embeddings.safetensors", embeddings.arrays())


def _train(folder, output, *extra):
    arguments = [
        "--config",
        "config.yaml",
        "--strategy",
        "mgral",
        "--dataset",
        "train.json",
        "--labelled",
        "labelled.json",
    ]
    arguments += ["--embeddings", "embeddings.safetensors", "--table", "table.safetensors", "--seed", "1"]
    arguments += [
        "--strategy",
        "mgral",
        "--cycle",
        "0",
        "--output",
        f"{output}.safetensors",
        "--log-csv",
        f"{output}.csv",
    ]
    arguments += ["--summary", f"{output}.json", *extra]
    paths = [str(folder / a) if "." in a else a for a in arguments]
    mgral(["agent", *paths], standalone_mode=False)
    return [(folder / f"{output}.{suffix}").read_bytes() for suffix in ("safetensors", "csv", "json")]


def test_the_step_writes_the_contracts_files_and_the_same_bytes_again(experiment):
    assert _train(experiment, "first") == _train(experiment, "second")
    assert tuple(read_csv(experiment / "first.csv")[0]) == Episode._fields
    summary = json.loads((experiment / "first.json").read_text())
    assert summary["random_best_as_often"] == float(read_csv(experiment / "first.csv")[-1]["random_best"])
    deviations = (summary["selected_reward"] - summary["random_mean"]) / summary["random_std"]
    assert summary["standard_deviations_above"] == pytest.approx(deviations)
    assert summary["baseline_map"] == 0.19


def test_the_step_learns_from_all_tables(experiment):
    alone = _train(experiment, "alone")
    arrays = read_arrays(experiment / "table.safetensors")
    other = {**arrays, "map": arrays["map"][::-1].copy(), "baseline_map": np.array([0.29])}
    write_arrays(experiment / "other.safetensors", other)
    both = _train(experiment, "both", "--table", "other.safetensors")
    assert both != alone
    assert json.loads(both[2])["baseline_map"] == pytest.approx((0.19 + 0.29) / 2)


def _contradiction(folder):
    arrays = read_arrays(folder / "table.safetensors")
    write_arrays(folder / "other.safetensors", {**arrays, "values": 1 - arrays["values"]})
    return ["--table", "other.safetensors"]


def test_an_agent_is_validated_unless_its_tables_contradict_each_other(experiment):
    (_, _, alone), (_, _, twice), (_, _, against) = (
        _train(experiment, "alone"),
        _train(experiment, "twice", "--table", "table.safetensors"),
        _train(experiment, "against", *_contradiction(experiment)),
    )
    summaries = [json.loads(summary) for summary in (alone, twice, against)]
    assert summaries[0]["held_out_gain"] is summaries[0]["p_value"] is None
    assert summaries[1]["held_out_gain"] > 0 > summaries[2]["held_out_gain"]
    assert summaries[1]["p_value"] < 0.05 < 0.95 < summaries[2]["p_value"]
    found = [bool(load_agent(experiment / f"{name}.safetensors").validated) for name in ("alone", "twice", "against")]
    assert found == [True, True, False]


def test_embeddings_of_another_dimension_than_the_table_are_an_error(experiment):
    vectors, _ = _pool(dimensions=3)
    _write_embeddings(experiment, vectors)
    with pytest.raises(InputError, match=r"table\.safetensors was made for 4 dimensions, not 3"):
        _train(experiment, "first")
    assert not (experiment / "first.safetensors").exists()
    assert RewardTable.load(experiment / "table.safetensors", RewardConfig(**SLICED)).baseline_map == 0.19


def test_the_step_goes_on_after_a_stop_and_leaves_no_checkpoint(experiment, monkeypatch, capsys):
    undisturbed = _train(experiment, "first")
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    with stop_after(3, monkeypatch), pytest.raises(StoppedError):
        _train(experiment, "second")
    path = experiment / "second.safetensors.checkpoint"
    assert path.exists()
    assert _train(experiment, "second") == undisturbed
    assert f"agent: resumed at episode 3 of 5 from {path}" in capsys.readouterr().err
    assert not path.exists()


def test_a_checkpoint_of_another_table_is_not_used(experiment, monkeypatch, capsys):
    monkeypatch.setenv(SECONDS_VARIABLE, "0")
    with stop_after(3, monkeypatch), pytest.raises(StoppedError):
        _train(experiment, "first")
    arrays = _table_arrays(*_pool())
    write_arrays(experiment / "table.safetensors", arrays | {"map": arrays["map"][::-1]})
    stale = _train(experiment, "first")
    assert "first.safetensors.checkpoint is of other settings, inputs or versions" in capsys.readouterr().err
    assert stale == _train(experiment, "second")
